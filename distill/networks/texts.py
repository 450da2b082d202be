"""Small networks that read text. The source of each goes into the card of a student that is one, so they import nothing but torch."""

import torch


class Recurrent(torch.nn.Module):
    """LSTM or GRU over tokens → logits; each unit is read off at its largest value over the text (Conneau et al. 2017)."""

    def __init__(
        self, kind: str, vocabulary: int, embedding: int, hidden: int, layers: int, both: bool, dropout: float, classes: int
    ) -> None:
        super().__init__()
        nn = torch.nn
        self.embedding = nn.Embedding(vocabulary, embedding)
        between = dropout if layers > 1 else 0.0
        self.layers = getattr(nn, kind)(embedding, hidden, layers, batch_first=True, bidirectional=both, dropout=between)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden * (1 + both), classes)

    def run(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Token ids [B, L] and which of them are there [B, L] → states [B, L, hidden of all directions]."""
        vectors = self.dropout(self.embedding(ids))
        rnn = torch.nn.utils.rnn
        packed = rnn.pack_padded_sequence(vectors, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        states: torch.Tensor = rnn.pad_packed_sequence(self.layers(packed)[0], batch_first=True, total_length=ids.shape[1])[0]
        return states

    def read_off(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """States [B, L, H] and which of them count [B, L] → logits [B, classes]."""
        largest = states.masked_fill(~mask[:, :, None], -torch.inf).amax(1)
        logits: torch.Tensor = self.classifier(self.dropout(largest))
        return logits

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Token ids [B, L] and which of them are there [B, L] → logits [B, classes]."""
        return self.read_off(self.run(ids, mask), mask)


class RecurrentTagger(Recurrent):
    """The same, read off at each token (Graves, Schmidhuber 2005)."""

    @property
    def head(self) -> torch.nn.Linear:
        return self.classifier

    def states(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Token ids [B, L] and which of them are there [B, L] → states [B, L, hidden of all directions]."""
        states: torch.Tensor = self.dropout(self.run(ids, mask))
        return states

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Token ids [B, L] and which of them are there [B, L] → logits [B, L, classes]."""
        logits: torch.Tensor = self.classifier(self.states(ids, mask))
        return logits


class TextCnn(torch.nn.Module):
    """Convolutions of several widths over tokens → logits (Kim 2014)."""

    def __init__(self, vocabulary: int, embedding: int, channels: int, widths: list[int], dropout: float, classes: int) -> None:
        super().__init__()
        nn = torch.nn
        self.widths = widths
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.convolutions = nn.ModuleList([nn.Conv1d(embedding, channels, width) for width in widths])
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels * len(widths), classes)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Token ids [B, L] and which of them are there [B, L] → logits [B, classes]. Windows over the end see zeros."""
        logits: torch.Tensor = self.classifier(self.dropout(self.largest(ids, mask)))
        return logits

    def largest(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """What each channel finds at most [B, channels of all widths]."""
        vectors = (self.dropout(self.embedding(ids)) * mask[:, :, None]).transpose(1, 2)
        found = []
        for width, convolution in zip(self.widths, self.convolutions, strict=True):
            values = torch.relu(convolution(torch.nn.functional.pad(vectors, (0, width - 1))))
            found.append(values.masked_fill(~mask[:, None, :], 0.0).amax(2))
        return torch.cat(found, 1)


class RecurrentLm(torch.nn.Module):
    """LSTM or GRU over tokens → logits of the next token (Mikolov et al. 2010)."""

    def __init__(self, kind: str, vocabulary: int, embedding: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        nn = torch.nn
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.layers = getattr(nn, kind)(embedding, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, vocabulary)

    def states(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Token ids [B, L] → states [B, L, hidden]; what stands right of a token, filling included, never reaches it."""
        states: torch.Tensor = self.dropout(self.layers(self.dropout(self.embedding(ids)))[0])
        return states

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Token ids [B, L] → logits [B, L, V]: at each place those of the token after it."""
        logits: torch.Tensor = self.head(self.states(ids, mask))
        return logits
