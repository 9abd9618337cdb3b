"""What notebooks 07 to 09 add: byte pairs, corpora, the LSTM, the loss in chunks."""
