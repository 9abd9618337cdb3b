"""What students may hand in: for each task, by name, right answers and wrong ones.

A function's first right answer is the one that the wrong ones are made of: `old => new`, each one plausible mistake.
After `??` stands what must be said of it.
"""

RIGHT: dict[str, list[str]] = {}
WRONG: dict[str, list[str]] = {}


def number(name: str, right: str, wrong: str) -> None:
    """The answers to a task that asks for a number, separated by semicolons."""
    RIGHT[name], WRONG[name] = ([one.strip() for one in told.split(";")] for told in (right, wrong))


def function(name: str, first: str, second: str, wrong: str) -> None:
    """The answers to a task that asks for a function; the edits of the first, a line each."""
    RIGHT[name], WRONG[name] = [first, second], wrong.strip().splitlines()


number(
    "01.1",
    "np.log(2) / 24; 0.0289; torch.tensor(0.5).log() / -24",
    "np.log(2) ?? asked is the mean; 0.5; 0.5 / 24; -np.log(2) / 24; 1 / 24; np.log(2) / 25; np.log(2) * 24;"
    " np.exp(-0.5); 2 ** (-1 / 24); 1 / np.log(24); np.log10(2) / 24 ?? not that to base 10",
)
function(
    "01.2",
    """
def loss(logits, targets):
    total, n = 0.0, 0
    for row, target in zip(logits.tolist(), targets.tolist()):
        if target != -100:
            total += np.log(sum(np.exp(x) for x in row)) - row[target]
            n += 1
    return total / n
""",
    """
def loss(logits, targets):
    return torch.nn.functional.cross_entropy(logits, targets)
""",
    """
total / n => total
total / n => total / len(targets) ?? np.log(5); yours is 0.805
total / n => -total / n
total / n => total / n / np.log(2) ?? that is in bits
total / n => total / n / np.log(10) ?? not that to base 10
target != -100 => target > 0 ?? a target of 0 counts; only -100 does not
return total / n => return -logits.softmax(-1)[targets != -100, targets[targets != -100]].mean().log() ?? first the log
np.log(sum => np.log2(sum
np.log(sum(np.exp(x) for x in row)) => np.log(np.mean(np.exp(row)))
np.log(sum(np.exp(x) for x in row)) => max(row)
- row[target] => - row[target - 1]
np.log(sum(np.exp(x) for x in row)) - row[target] => -row[target]
np.log(sum(np.exp(x) for x in row)) - row[target] => 1 - np.exp(row[target]) / sum(np.exp(x) for x in row)
target in zip(logits.tolist(), targets.tolist()) => target in zip(logits.tolist(), targets.clamp(min=0).tolist())
n += 1 => n = 1
return total / n => return np.exp(total / n)
np.log(sum(np.exp(x) for x in row)) => logits[:, target].exp().sum().log().item()
""",
)
function(
    "01.3",
    """
def floor(pairs):
    nexts = {}
    for a, b in pairs:
        nexts.setdefault(a, []).append(b)
    nll = 0.0
    for a, b in pairs:
        nll -= np.log(nexts[a].count(b) / len(nexts[a]))
    return nll / len(pairs)
""",
    """
def floor(pairs):
    letters = sorted({c for pair in pairs for c in pair})
    n = np.zeros((len(letters), len(letters)))
    for a, b in pairs:
        n[letters.index(a), letters.index(b)] += 1
    p = n / np.maximum(n.sum(1, keepdims=True), 1)
    return -(n * np.log(np.where(p > 0, p, 1))).sum() / n.sum()
""",
    """
np.log(nexts => np.log2(nexts
nll -= => nll +=
nll / len(pairs) => nll
nll / len(pairs) => nll / (len(pairs) + 1)
nll / len(pairs) => nll / len(nexts)
nll / len(pairs) => np.exp(nll / len(pairs))
for a, b in pairs:\\n        nll => for a, b in set(pairs):\\n        nll
nexts[a].count(b) / len(nexts[a]) => 1 / len(set(nexts[a])) ?? the next characters are not equally likely
nll / len(pairs) => np.mean([-np.mean([np.log(y.count(b) / len(y)) for b in y]) for y in nexts.values()]) ?? comes often
nll / len(pairs) => nll / len(pairs) / np.log(10) ?? not that to base 10
nexts[a].count(b) / len(nexts[a]) => nexts[a].count(b) / len(pairs)
nexts[a].count(b) / len(nexts[a]) => sum(c == b for _, c in pairs) / len(pairs)
nexts[a].count(b) / len(nexts[a]) => max(nexts[a].count(c) for c in nexts[a]) / len(nexts[a])
nexts.setdefault(a, []).append(b) => nexts.setdefault(a, [b]).append(b)
""",
)
number(
    "02.1",
    "1 - (1 - 1 / 9312) ** 4656; 1 - np.exp(-0.5); torch.tensor(0.3935)",
    "0.5; 0.25; np.exp(-0.5); 0; 1; 0.197; 39.35; 1 / np.e; 1 - 1 / np.e; 0.75; 4656",
)
function(
    "02.2",
    """
def may_look(lengths, T):
    mask = torch.zeros(len(lengths), T, T, dtype=torch.bool)
    for b, n in enumerate(lengths.tolist()):
        for i in range(T):
            for j in range(T):
                mask[b, i, j] = j <= i and j < n
    return mask
""",
    """
def may_look(lengths, T):
    causal = np.tril(np.ones((T, T), bool))
    return np.stack([causal & (np.arange(T) < n) for n in lengths.numpy()])
""",
    """
j <= i => j < i
j <= i => j >= i
j <= i and => True and
j <= i and j < n => j <= i
and j < n => and j <= n
and j < n => and j < n - 1
and j < n => and i < n
and j < n => and i < n and j < n
and => or
mask[b, i, j] => mask[b, j, i]
return mask => return ~mask
return mask => return mask.float() ?? your answer holds float32
return mask => return mask[0]
return mask => return mask[:, None]
""",
)
function(
    "02.3",
    """
def train_pairs(p, seed):
    random = np.random.default_rng(seed)
    train = np.zeros((p, p), bool)
    for a in range(p):
        for b in range(a + 1):
            train[a, b] = train[b, a] = random.random() < 0.5
    return train
""",
    """
def train_pairs(p, seed):
    pairs = torch.combinations(torch.arange(p), with_replacement=True)
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed))
    a, b = pairs[order[: len(pairs) // 2]].T
    train = torch.zeros(p, p, dtype=torch.bool)
    train[a, b] = train[b, a] = True
    return train
""",
    """
= train[b, a] =>
for b in range(a + 1) => for b in range(p // 2)
for b in range(a + 1) => for b in range(a) ?? each pair must have the same chance, (a, a) too
default_rng(seed) => default_rng()
default_rng(seed) => default_rng(0)
random.random() < 0.5 => random.random() < 0.9
random.random() < 0.5 => random.random() < 0.25
random.random() < 0.5 => (a + b) % 2 == 0
random.random() < 0.5 => random.random()
train[b, a] = random.random() < 0.5 => train[b, a] = a < p // 2
return train => return np.argwhere(train)
return train => return train.astype(int)
for b in range(a + 1) => for b in range(0, a + 1, 2)
""",
)
function(
    "03.1",
    """
def n_states(tokens):
    n = 0
    for t in range(tokens.shape[1]):
        n += len(torch.unique(tokens[:, : t + 1], dim=0))
    return n
""",
    """
def n_states(tokens):
    def count(rows):
        if not rows or not rows[0]:
            return 0
        heads = {row[0] for row in rows}
        return sum(1 + count([row[1:] for row in rows if row[0] == head]) for head in heads)

    return count(tokens.tolist())
""",
    """
tokens[:, : t + 1] => tokens[:, t : t + 1] ?? is 7; yours is 5
tokens[:, : t + 1] => tokens[:, t:]
tokens[:, : t + 1] => tokens[:, : t + 1].sum(1, keepdim=True)
tokens[:, : t + 1] => tokens[:, : t + 1].sort(1).values
, dim=0)) => ))
, dim=0)) => , dim=1))
n += => n =
len(torch.unique(tokens[:, : t + 1], dim=0)) => len(tokens)
range(tokens.shape[1]) => range(tokens.shape[1] - 1)
range(tokens.shape[1]) => range(1, tokens.shape[1])
return n => return tokens.numel() - n
return n => return n + 1
return n => return n / tokens.numel()
""",
)
function(
    "03.2",
    """
def accuracy(predicted, targets):
    right = 0
    for row, target in zip(predicted.tolist(), targets.tolist()):
        right += all(x == y for x, y in zip(row, target) if y != -100)
    return right / len(targets)
""",
    """
def accuracy(predicted, targets):
    wrong = (predicted != targets) & (targets != -100)
    return 1 - wrong.any(dim=1).double().mean()
""",
    """
 if y != -100 =>
all(x == y => any(x == y ?? a row is right only if all of its scored tokens are
x == y => x != y
right / len(targets) => right
right / len(targets) => right / targets.numel()
right / len(targets) => 1 - right / len(targets)
right / len(targets) => 100 * right / len(targets) ?? a share is from 0 to 1
if y != -100 => if x != -100
x == y for x, y in zip(row, target) => x == y for x, y in list(zip(row, target))[-1:] ?? a row is right only if all
x == y for x, y in zip(row, target) => x == y for x, y in list(zip(row, target))[:-1]
right += all( => right += sum(
right += all( => right += (lambda some: np.mean(list(some)))( ?? a row is right only if all of its scored tokens are
return right / len(targets) => return ((predicted == targets) & (targets != -100)).sum() / (targets != -100).sum()
right / len(targets) => right > len(targets) / 2
""",
)
function(
    "03.3",
    """
def rate(step, peak, warmup, fall):
    if step < warmup:
        return peak * (step + 1) / warmup
    if step >= fall:
        return 0.0
    return peak * 0.5 * (1 + np.cos(np.pi * (step - warmup) / (fall - warmup)))
""",
    """
def rate(step, peak, warmup, fall):
    rising = (step + 1) / warmup
    falling = np.cos(np.pi / 2 * np.clip((step - warmup) / (fall - warmup), 0, 1)) ** 2
    return peak * min(rising, falling)
""",
    """
(step + 1) / warmup => step / warmup
(step + 1) / warmup => (step + 1) / (warmup + 1)
return peak * (step + 1) / warmup => return peak
step < warmup => step <= warmup
peak * 0.5 * => peak *
(1 + np.cos => (1 - np.cos
np.pi * => np.pi / 2 *
(step - warmup) / (fall - warmup) => step / fall
(step - warmup) / (fall - warmup) => (step - warmup) / fall
peak * 0.5 * (1 + np.cos(np.pi * (step - warmup) / (fall - warmup))) => peak * (fall - step) / (fall - warmup)
if step >= fall:\\n        return 0.0 => if step < 0:\\n        return 0.0
return 0.0 => return peak
peak * 0.5 => 0.5
np.cos => np.sin
return peak * (step + 1) / warmup => return (step + 1) / warmup
""",
)
number(
    "04.1",
    "0.999**1000; np.exp(-1); torch.tensor(0.3677)",
    "0; 0.999 ?? one step leaves; 1 ?? decay acts also where the gradient is 0; 1 - 0.999**1000; 0.5; -1; 0.1353;"
    " 0.001; np.e; 0.999 * 1000; np.exp(-0.001)",
)
function(
    "04.2",
    """
def divide(a, b, p):
    inverse = pow(b, p - 2, p)
    return a * inverse % p
""",
    """
def divide(a, b, p):
    for c in range(p):
        if (c * b - a) % p == 0:
            return float(c)
""",
    """
a * inverse % p => a // b
a * inverse % p => a / b ?? / is ordinary division
a * inverse % p => a / b % p ?? divide(3, 2, 7) is 5; yours is 1.5
a * inverse % p => (a // b) % p
a * inverse % p => a * b % p
a * inverse % p => a * inverse
a * inverse % p => a * inverse % (p - 1)
a * inverse % p => inverse
p - 2, p => p - 1, p
p - 2, p => p - 3, p
pow(b, p - 2, p) => pow(a, p - 2, p)
a * inverse % p => (a - b) % p
a * inverse % p => a * inverse % p - p
a * inverse % p => a * inverse % p + 1
""",
)
function(
    "04.3",
    """
def t_grok(steps, accuracy):
    row = 0
    for i, value in enumerate(accuracy):
        row = row + 1 if value >= 0.99 else 0
        if row == 3:
            return steps[i - 2]
    return -1
""",
    """
def t_grok(steps, accuracy):
    good = np.array(accuracy) >= 0.99
    where = np.flatnonzero(good[:-2] & good[1:-1] & good[2:])
    return steps[where[0]] if len(where) else -1
""",
    """
>= 0.99 => > 0.99
>= 0.99 => >= 0.98
row == 3 => row == 1
row == 3 => row == 2
row == 3 => row == 4
steps[i - 2] => steps[i]
steps[i - 2] => steps[i - 3]
steps[i - 2] => i - 2
else 0 => else row
else 0 => else 1
return -1 => return None ?? t_grok([5, 16, 45, 57], [0.1, 0.999, 0.999, 0.2]) returns None
return -1 => return steps[-1]
return -1 => return 0
""",
)
function(
    "05.1",
    """
def step(w, g, m, v, t, lr, decay):
    m = m * 0.9 + g * 0.1
    v = v * 0.98 + g * g * 0.02
    size = (v / (1 - 0.98**t)).sqrt() + 1e-8
    w = w * (1 - lr * decay) - lr * (m / (1 - 0.9**t)) / size
    return w, m, v
""",
    """
def step(w, g, m, v, t, lr, decay):
    w, g, m, v = (x.numpy() for x in (w, g, m, v))
    m += 0.1 * (g - m)
    v += 0.02 * (g * g - v)
    corrected = np.sqrt(1 - 0.98**t) / (1 - 0.9**t)
    w *= 1 - lr * decay
    w -= lr * corrected * m / (np.sqrt(v) + 1e-8 * np.sqrt(1 - 0.98**t))
    return [w, m, v]
""",
    """
m * 0.9 + g * 0.1 => m * 0.1 + g * 0.9
m * 0.9 + g * 0.1 => m * 0.9 + g
v * 0.98 => v * 0.999
g * g * 0.02 => g * 0.02 ?? v is wrong
g * g * 0.02 => g.abs() * 0.02
(v / (1 - 0.98**t)).sqrt() => v.sqrt() ?? look at the divisions, the root and the sign
(m / (1 - 0.9**t)) => m
.sqrt() + => +
 + 1e-8 =>
(1 - lr * decay) - => (1 - decay) - ?? w is right with decay 0, and wrong with decay 1
(1 - lr * decay) - => 1 -
(1 - lr * decay) - lr * => (1 - lr * decay) + lr *
m = m * 0.9 + g * 0.1 => m = m * 0.9 + (g + decay * w) * 0.1 ?? decay acts on w alone, not on the gradient
v = v * => g = g + decay * w; v = v * ?? v is right without decay
1 - 0.9**t => 1 - 0.9 ** (t - 1) + (t == 1)
return w, m, v => return w
return w, m, v => return w, m / (1 - 0.9**t), v
return w, m, v => return m, v, w
""",
)
function(
    "05.2",
    """
def median(t_grok):
    done = sorted(t for t in t_grok if t is not None)
    middle = (len(t_grok) - 1) // 2
    return done[middle] if middle < len(done) else -1
""",
    """
def median(t_grok):
    numbers = [np.inf if t is None else t for t in t_grok]
    middle = np.percentile(numbers, 50, method="inverted_cdf")
    return middle if np.isfinite(middle) else -1
""",
    """
(len(t_grok) - 1) // 2 => (len(done) - 1) // 2
(len(t_grok) - 1) // 2 => len(t_grok) // 2
return done[middle] => return np.median(done)
return done[middle] => return np.mean(done)
return done[middle] if middle < len(done) else -1 => return np.mean(done) if done else -1
else -1 => else None
else -1 => else 800
else -1 => else done[-1] if done else -1
sorted(t for t in t_grok if t is not None) => [t for t in t_grok if t is not None]
sorted(t for t in t_grok if t is not None) => sorted((t for t in t_grok if t is not None), reverse=True)
sorted(t for t in t_grok if t is not None) => sorted(t or 0 for t in t_grok)
done[middle] if middle < len(done) => done[middle] if middle + 1 < len(done)
return done[middle] => return done[0]
""",
)
number(
    "05.3", "1 - 0.95**35; 0.834; np.float32(0.83)", "0.05; 1.75; 1; 0.95**35; 0.95; 0.05**35; 0.5; 35; 83.4; 0; 1 / 35"
)
function(
    "06.1",
    """
def circle(k, g, p):
    places = np.zeros(p - 1, complex)
    x = 1
    for l in range(p - 1):
        places[x - 1] = np.exp(2j * np.pi * k * l / (p - 1))
        x = x * g % p
    return places
""",
    """
def circle(k, g, p):
    logs = [next(l for l in range(p - 1) if g**l % p == x) for x in range(1, p)]
    angle = torch.tensor(logs) * 2 * torch.pi * k / (p - 1)
    return torch.polar(torch.ones(p - 1, dtype=torch.double), angle.double())
""",
    """
k * l / (p - 1) => k * l / p
k * l / (p - 1) => l / (p - 1)
k * l / (p - 1) => k * x / (p - 1)
k * l / (p - 1) => k * (l + 1) / (p - 1)
2j * => 1j *
2j * => -2j *
2j * => 2 *
places[x - 1] => places[l]
x = 1 => x = g
x * g % p => x * k % p
x * g % p => (x + g) % (p - 1) + 1
return places => return places.real
return places => return np.angle(places)
return places => return np.append(0, places)
""",
)
number(
    "06.2", "48; np.int64(48); torch.tensor(48); 96 / 2", "1; 2; 24; 47; 12; 96; 0; 5; 32; 49; 16; 48.5 ?? holds 48.5"
)
function(
    "06.3",
    """
def by_difference(table):
    n = len(table)
    means = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            means[i, j] = np.mean([table[(i + s) % n, (j + s) % n] for s in range(n)])
    return means
""",
    """
def by_difference(table):
    n = len(table)
    waves = np.fft.fft2(table)
    k, l = np.indices((n, n))
    return np.fft.ifft2(np.where((k + l) % n == 0, waves, 0)).real
""",
    """
(j + s) % n] => (j - s) % n]
(j + s) % n] => j]
(i + s) % n, => i,
np.mean => np.sum
np.mean => np.median
np.mean => max
range(n)]) => range(1, n)])
range(n)]) => range(n - 1)])
return means => return table - means
return means => return means.T
return means => return means[0]
return means => return means - means.mean()
np.mean([table[(i + s) % n, (j + s) % n] for s in range(n)]) => np.diagonal(table, j - i).mean()
""",
)
function(
    "07.1",
    """
def perplexity(losses, n_tokens):
    mean = np.average(losses, weights=n_tokens)
    return np.exp(mean)
""",
    """
def perplexity(losses, n_tokens):
    total = sum(loss * n for loss, n in zip(losses, n_tokens))
    return float(torch.tensor(total / sum(n_tokens)).exp())
""",
    """
, weights=n_tokens =>
return np.exp(mean) => return mean
np.average(losses, weights=n_tokens) => np.median(losses)
np.exp(mean) => 2**mean
np.exp(mean) => np.exp(losses).mean()
np.exp(mean) => np.average(np.exp(losses), weights=n_tokens)
np.average(losses, weights=n_tokens) => (losses * n_tokens).sum() / (16 * len(losses))
np.average(losses, weights=n_tokens) => losses.sum()
np.average(losses, weights=n_tokens) => (losses * n_tokens).sum() / len(losses)
np.average(losses, weights=n_tokens) => losses.sum() / n_tokens.sum()
np.average(losses, weights=n_tokens) => np.average(losses[:-1])
np.exp(mean) => np.exp(-mean)
np.exp(mean) => np.exp(losses)
""",
)
number(
    "07.2",
    "np.cosh(1); 1.543; (np.e + 1 / np.e) / 2",
    "1; 84.25; 54.6 ?? that is the perplexity of the whole; 54.3 ?? not by how much larger;"
    " 0.543 ?? not by how much; 0.648; 29.65; 2; np.e; 4; 1.1; 148.4 / 20.1; (3 + 5) / 2 / np.sqrt(15)",
)
function(
    "07.3",
    """
def n_parameters(d_input, d_hidden, n_layers):
    n = 0
    for layer in range(n_layers):
        reads = d_input if layer == 0 else d_hidden
        n += 4 * d_hidden * (reads + d_hidden + 2)
    return n
""",
    """
def n_parameters(d_input, d_hidden, n_layers):
    lstm = torch.nn.LSTM(d_input, d_hidden, n_layers)
    return sum(p.numel() for p in lstm.parameters())
""",
    """
4 * d_hidden => d_hidden
4 * d_hidden => 3 * d_hidden
+ 2) => + 1)
+ d_hidden + 2 => + d_hidden ?? n_parameters(2, 1, 1) is 20; yours is 12
4 * d_hidden * (reads + d_hidden + 2) => 4 * d_hidden * (reads + d_hidden) + 2
if layer == 0 else d_hidden => if layer >= 0 else d_hidden
d_input if layer == 0 else d_hidden => d_hidden
n += => n =
reads + d_hidden + 2 => 2 * reads + 2
reads + d_hidden + 2 => reads * d_hidden + 2
return n => return n / n_layers
reads + d_hidden + 2 => reads + 2
4 * d_hidden * (reads => 4 * d_input * (reads
return n => return 4 * n
""",
)
function(
    "08.1",
    """
def bits_per_byte(loss, text, n_tokens):
    bytes_per_token = len(text.encode("utf-8")) / n_tokens
    return loss / np.log(2) / bytes_per_token
""",
    """
def bits_per_byte(loss, text, n_tokens):
    size = sum(len(c.encode()) for c in text)
    return float(np.log2(np.exp(loss))) * n_tokens / size
""",
    """
len(text.encode("utf-8")) => len(text)
loss / np.log(2) => loss
loss / np.log(2) => loss * np.log(2)
loss / np.log(2) / bytes_per_token => loss / np.log(2)
/ bytes_per_token => * bytes_per_token
/ n_tokens =>
/ n_tokens => * n_tokens
np.log(2) => np.log(8)
np.log(2) => np.log2(np.e)
loss / np.log(2) => np.exp(loss)
len(text.encode("utf-8")) => len(text.split())
"utf-8" => "utf-16"
"utf-8" => "utf-32"
len(text.encode("utf-8")) => len(set(text))
""",
)
function(
    "08.2",
    """
def probabilities(logits, temperature, k):
    p = torch.zeros_like(logits)
    values, places = torch.topk(logits, k)
    weights = torch.exp(values / temperature)
    p[places] = weights / weights.sum()
    return p
""",
    """
def probabilities(logits, temperature, k):
    x = logits.numpy() / temperature
    e = np.exp(x - x.max())
    e[np.argsort(x)[: len(x) - k]] = 0
    return e / e.sum()
""",
    """
values / temperature => values
values / temperature => values * temperature
weights / weights.sum() => weights
torch.topk(logits, k) => torch.topk(logits, len(logits))
torch.topk(logits, k) => torch.topk(logits, min(k + 1, len(logits)))
torch.topk(logits, k) => torch.topk(logits, k, largest=False)
torch.topk(logits, k) => torch.topk(logits.abs(), k)
weights / weights.sum() => logits.softmax(-1)[places]
return p => return p[places]
return p => return p.log()
torch.exp(values / temperature) => torch.exp(values) / temperature
torch.exp(values / temperature) => values / temperature
p[places] = weights => p[:k] = weights
return p => return p.argmax()
""",
)
number(
    "08.3",
    "3 * 128 * 512; 196608.0; np.int64(196_608)",
    "128 * 512; 2 * 128 * 512; 4 * 128 * 512; 3 * 128 * 512 + 2 * 512 + 128; 3 * 512; 3 * (128 + 512);"
    " 12 * 128 * 512; 640; 3 * 128 * 128; 3 * 512 * 512",
)
function(
    "09.1",
    """
def clip(gradients, limit):
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    if norm <= limit:
        return gradients
    return [g * limit / norm for g in gradients]
""",
    """
def clip(gradients, limit):
    weights = [torch.nn.Parameter(torch.zeros_like(g)) for g in gradients]
    for weight, g in zip(weights, gradients):
        weight.grad = g
    torch.nn.utils.clip_grad_norm_(weights, limit)
    return [weight.grad for weight in weights]
""",
    """
if norm <= limit: => if False:
norm <= limit => norm >= limit
g * limit / norm => g / norm
g * limit / norm => g * limit
g * limit / norm => g * norm / limit
g * limit / norm => g * limit / norm**2
g * limit / norm => g.clamp(-limit, limit)
g * limit / norm => g * limit / g.norm()
for g in gradients]).norm() => for g in gradients]).norm() ** 2
for g in gradients]).norm() => for g in gradients]).abs().sum()
for g in gradients]).norm() => for g in gradients]).abs().max()
for g in gradients]).norm() => for g in gradients[:1]]).norm()
return [g * limit / norm for g in gradients] => return torch.cat([g.flatten() for g in gradients]) * limit / norm
return [g * limit / norm for g in gradients] => for g in gradients: g *= limit / norm ?? returns None
return [g * limit / norm for g in gradients] => return [0 * g for g in gradients]
return gradients => return [g * limit / norm for g in gradients]
""",
)
number(
    "09.2",
    "16 * 1.558; 24.9; np.float32(24.928)",
    "6.232; 12.464 ?? that is 8 bytes for each parameter; 18.7; 1.558; 199.4; 3.116; 24.928e9; 31.16; 0.0249; 49.86;"
    " 4 * 1.558 * 1.5",
)
number(
    "09.3",
    "1; 1.0; torch.tensor(1.0, dtype=torch.bfloat16)",
    "1.1; 1.1015625; 1.0078125; 0; 1.001; 0.1; 1.05; 1.09; 2; 1.0999999; 100.1",
)
function(
    "10.1",
    """
def for_training(rows, seed):
    p = rows.max() + 1
    drawn = np.random.default_rng(seed).choice(np.arange(1, p), (p - 1) // 2, replace=False)
    return np.array([b in drawn for a, b, c in rows])
""",
    """
def for_training(rows, seed):
    random = np.random.RandomState(seed)
    rank = random.rand(rows[:, 1].max() + 1)
    chosen = rank > np.median(rank[1:])
    return chosen[rows[:, 1]]
""",
    """
[b in drawn => [a in drawn
[b in drawn => [c in drawn
[b in drawn => [b <= p // 2
[b in drawn => [b % 2 == 0
default_rng(seed) => default_rng()
default_rng(seed) => default_rng(0)
(p - 1) // 2 => (p - 1) // 4
(p - 1) // 2, => p - 1,
, replace=False => , replace=True
np.arange(1, p) => rows[:, 1]
return np.array([b in drawn for a, b, c in rows]) => return np.random.default_rng(seed).random(len(rows)) < 0.5
return np.array([b in drawn for a, b, c in rows]) => return np.isin(rows, drawn)
return np.array([b in drawn for a, b, c in rows]) => return rows[np.isin(rows[:, 1], drawn)]
return np.array([b in drawn for a, b, c in rows]) => return np.arange(len(rows)) < len(rows) // 2
""",
)
function(
    "10.2",
    """
def errors(given, true, p):
    off = (given - true) % p
    return np.where(off > p // 2, off - p, off)
""",
    """
def errors(given, true, p):
    ways = [given - true - p, given - true, given - true + p]
    return np.array([min(some, key=abs) for some in zip(*ways)], float)
""",
    """
(given - true) % p => given - true
(given - true) % p => (true - given) % p
(given - true) % p => abs(given - true)
return np.where(off > p // 2, off - p, off) => return off ?? 4 for 0 modulo 5 errs by -1, yours is 4
off - p, off => p - off, off
off > p // 2 => off >= p // 2
off > p // 2 => off > p // 2 + 1
off > p // 2 => off > 0
off - p, off => off - p + 1, off
return np.where(off > p // 2, off - p, off) => return np.where(off > p // 2, off - p, off) / p ?? must hold whole
return np.where(off > p // 2, off - p, off) => return np.where(off > p // 2, off - p, off).mean()
return np.where(off > p // 2, off - p, off) => return given != true
off - p, off => off, off - p
""",
)
