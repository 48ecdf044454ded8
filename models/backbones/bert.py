"""A frozen BERT with a trainable BiLSTM behind it: LGUR's text tower (methods.md 4)."""

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
        config = BertConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=4 * width,
            pad_token_id=PAD,
        )
        self.bert = BertModel(config, add_pooling_layer=False)
        self.bert.requires_grad_(False)
        self.bert.train(False)
        self.lstm = nn.LSTM(width, dim, bias=False, bidirectional=True, batch_first=True)

    @classmethod
    def of(cls, spec: EncoderSpec, dim: int) -> Self:
        """The tower of a spec; its options may make BERT smaller."""
        names = ("layers", "width", "heads")
        sizes = {name: int(spec.options[f"bert_{name}"]) for name in names if f"bert_{name}" in spec.options}
        return cls(vocabulary=Tokenizer.build(spec.tokenizer).size, dim=dim, **sizes)

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
        path = folder / "model.safetensors"
        try:
            state = load_file(path)
        except (SafetensorError, OSError) as error:
            raise BackboneError(f"{path} is not a readable safetensors file: {error}") from error
        mine = self.bert.state_dict()
        # Published files carry the prefix of the model they were cut from, and LayerNorm's names of TensorFlow.
        named = {
            key.removeprefix("bert.")
            .replace("LayerNorm.gamma", "LayerNorm.weight")
            .replace("LayerNorm.beta", "LayerNorm.bias"): value
            for key, value in state.items()
        }
        if missing := sorted(set(mine) - set(named)):
            raise BackboneError(
                f"{path} is no BERT of this shape: {missing[0]} and {len(missing) - 1} more are missing"
            )
        try:
            self.bert.load_state_dict({key: named[key] for key in mine})
        except RuntimeError as error:
            raise BackboneError(f"the weights in {path} do not fit: {error}") from error
