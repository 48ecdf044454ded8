"""BERT: frozen with a trainable BiLSTM behind it, LGUR's text tower (methods.md 4), and trained, BDAM's (8)."""

from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers import BertConfig, BertModel

from models.encoder import EncoderSpec
from models.errors import BackboneError
from models.tokenizers import PAD, Tokenizer


class BertWords(nn.Module):
    """Token ids (B, L) int64 to word tokens (B, L, dim).

    BERT stays in evaluation mode and gets no gradient, whatever the module around it does; the last hidden states go
    through one bidirectional LSTM layer without biases, whose two directions are averaged.

    Args:
        vocabulary: rows of BERT's word table.
        dim: dimensions of a direction of the LSTM, and so of the output.
        layers, width, heads: BERT's; the defaults are those of bert-base.
    """

    def __init__(self, *, vocabulary: int, dim: int, layers: int = 12, width: int = 768, heads: int = 12) -> None:
        super().__init__()
        self.bert = BertModel(_config(vocabulary, layers, width, heads), add_pooling_layer=False)
        self.bert.requires_grad_(False)
        self.bert.train(False)
        self.lstm = nn.LSTM(width, dim, bias=False, bidirectional=True, batch_first=True)

    @classmethod
    def of(cls, spec: EncoderSpec, dim: int) -> Self:
        """The tower of a spec; its options may make BERT smaller."""
        return cls(vocabulary=Tokenizer.build(spec.tokenizer).size, dim=dim, **_sizes(spec))

    def train(self, mode: bool = True) -> Self:
        """Training mode for all but BERT."""
        super().train(mode)
        self.bert.train(False)
        return self

    def forward(self, token_ids: Tensor) -> Tensor:
        mask = token_ids != PAD
        with torch.no_grad():
            hidden = self.bert(input_ids=token_ids, attention_mask=mask.long()).last_hidden_state
        lengths = mask.sum(dim=1).clamp(min=1).cpu()
        packed = pack_padded_sequence(hidden, lengths, batch_first=True, enforce_sorted=False)
        both, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=token_ids.shape[1])
        forward, backward = both.chunk(2, dim=-1)
        return (forward + backward) / 2

    def load_pretrained(self, folder: Path) -> None:
        """Load BERT's weights from a folder as Hugging Face publishes it (model.safetensors).

        Raises:
            BackboneError: no such file, an unreadable one, or weights of another shape.
        """
        load_bert(self.bert, folder)


class BertSentences(nn.Module):
    """Token ids (B, L) int64 to the [CLS] feature (B, width) and word tokens (B, L, width) of a BERT that is trained.

    Args:
        vocabulary: rows of BERT's word table.
        layers, width, heads: BERT's; the defaults are those of bert-base.
    """

    def __init__(self, *, vocabulary: int, layers: int = 12, width: int = 768, heads: int = 12) -> None:
        super().__init__()
        self.width = width
        self.bert = BertModel(_config(vocabulary, layers, width, heads), add_pooling_layer=False)

    @classmethod
    def of(cls, spec: EncoderSpec) -> Self:
        """The tower of a spec; its options may make BERT smaller."""
        return cls(vocabulary=Tokenizer.build(spec.tokenizer).size, **_sizes(spec))

    def forward(self, token_ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, width), (B, L, width), and (B, L) bool: True where there is a token."""
        mask = token_ids != PAD
        read = mask.clone()
        read[:, 0] = True  # attention over nothing is NaN in some kernels
        hidden = self.bert(input_ids=token_ids, attention_mask=read.long()).last_hidden_state
        return hidden[:, 0], hidden, mask

    def load_pretrained(self, folder: Path) -> None:
        """Load published weights; see `load_bert`."""
        load_bert(self.bert, folder)


def load_bert(bert: BertModel, folder: Path) -> None:
    """Fill BERT from a folder as Hugging Face publishes it (model.safetensors).

    Raises:
        BackboneError: no such file, an unreadable one, or weights of another shape.
    """
    path = folder / "model.safetensors"
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise BackboneError(f"{path} is not a readable safetensors file: {error}") from error
    mine = bert.state_dict()
    # Published files carry the prefix of the model they were cut from, and LayerNorm's names of TensorFlow.
    named = {
        key.removeprefix("bert.")
        .replace("LayerNorm.gamma", "LayerNorm.weight")
        .replace("LayerNorm.beta", "LayerNorm.bias"): value
        for key, value in state.items()
    }
    if missing := sorted(set(mine) - set(named)):
        raise BackboneError(f"{path} is no BERT of this shape: {missing[0]} and {len(missing) - 1} more are missing")
    try:
        bert.load_state_dict({key: named[key] for key in mine})
    except RuntimeError as error:
        raise BackboneError(f"the weights in {path} do not fit: {error}") from error


def _config(vocabulary: int, layers: int, width: int, heads: int) -> BertConfig:
    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        pad_token_id=PAD,
    )


def _sizes(spec: EncoderSpec) -> dict[str, int]:
    names = ("layers", "width", "heads")
    return {name: int(spec.options[f"bert_{name}"]) for name in names if f"bert_{name}" in spec.options}
