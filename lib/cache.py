"""Keys and values kept while a transformer samples, so that each token is read once. Skip this file at first."""

from jaxtyping import Float
from torch import Tensor


class LayerCache:
    """Keys and values of one layer, in buffers for the whole context, so that a step writes its own tokens only."""

    def __init__(self, keys: Float[Tensor, "B H C d"], values: Float[Tensor, "B H C d"]) -> None:
        self.keys, self.values, self.past = keys, values, 0  # past: how many of the C positions are filled

    def extend(self, k: Float[Tensor, "B H T d"], v: Float[Tensor, "B H T d"]) -> tuple[Tensor, Tensor]:
        """Keeps the keys and values of T new tokens, and returns those of all past + T, (B, H, past + T, d).

        Raises RuntimeError if the new tokens do not fit into the context.
        """
        T = k.shape[2]
        for buffer, new in ((self.keys, k), (self.values, v)):
            buffer.narrow(2, self.past, T).copy_(new)  # raises if they do not fit; a slice would truncate in silence
        self.past += T
        return self.keys[:, :, : self.past], self.values[:, :, : self.past]
