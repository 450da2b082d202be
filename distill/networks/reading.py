"""Networks with the tokenizer they read by."""

import inspect
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from contract.errors import ErrorCode, InvalidSpec
from contract.model import ModelConfig, Reading, longest
from distill.data.batch import IMPOSSIBLE, Given, TokenBatch
from distill.data.blocks import MaskedBlocks
from distill.data.rows import Rows, Split, TextSplit
from distill.inside import NOTHING, Inside, Looks
from distill.networks import heads
from distill.networks.build import logits_of, scaled
from distill.networks.joint import Joint
from distill.networks.reader import Reader
from distill.networks.residual import Residual
from distill.networks.texts import Recurrent, RecurrentLm, RecurrentTagger, TextCnn
from distill.objectives import Said
from distill.tasks import within


class TextNetwork(nn.Module):
    """`inner` takes token ids [B, L] and a mask [B, L] and gives logits [B, C], or [B, L, V] in a language model."""

    def __init__(self, inner: nn.Module, reader: Reader, reading: Reading) -> None:
        super().__init__()
        self.inner, self.reader, self.reading = inner, reader, reading

    def forward(self, given: TokenBatch) -> Tensor:
        logits: Tensor = self.inner(given.ids, given.mask)
        return logits

    @property
    def positions(self) -> int | None:
        """The longest text, in tokens, that it has positions for; None where it has none to run out of."""
        return None

    @property
    def width(self) -> int:
        """Of the hidden states."""
        assert isinstance(self.inner, (RecurrentLm, RecurrentTagger))
        return self.inner.head.in_features

    def told(self, given: TokenBatch, looks: Looks = NOTHING) -> Said:
        """What it says of the tokens asked for, or of each row."""
        inner = self.inner
        if given.asked is None:
            if not looks:
                return Said.of(self(given))
            logits, states = _looked_into(inner, given)
            return replace(Said.of(logits), inside=Inside(states, tokens=given.places, mask=given.mask, row="largest"))
        assert isinstance(inner, (RecurrentLm, RecurrentTagger))
        last = inner.states(given.ids, given.mask)
        asked = last.flatten(0, 1)[given.asked]
        seen = Inside([inner.embedding(given.ids), last], tokens=given.places, mask=given.mask, row="largest") if looks else None
        return Said(asked, inner.head, inner.head.out_features, seen)


def _in_one_kernel(inner: nn.Module) -> None:
    """GPT-2's activation is written as eight operations, each of which goes through memory: of a small one's step a quarter. torch has the
    same formula as one."""
    from transformers.activations import NewGELUActivation

    for parent in list(inner.modules()):
        for name, child in parent.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(parent, name, nn.GELU("tanh"))


class LibraryNetwork(TextNetwork):
    """`inner` is one of the transformers library."""

    def __init__(self, inner: nn.Module, reader: Reader, reading: Reading) -> None:
        super().__init__(inner, reader, reading)
        _in_one_kernel(inner)
        takes = inspect.signature(inner.forward).parameters
        self._config: Any = inner.config
        self.takes_segments = "token_type_ids" in takes and getattr(self._config, "type_vocab_size", 0) > 1

    def _call(self, given: TokenBatch, looks: Looks = NOTHING) -> tuple[Any, Inside | None]:
        """The library's answer, and what was looked at."""
        more: dict[str, Any] = {"output_hidden_states": True} if looks else {}
        if self.takes_segments:
            more["token_type_ids"] = given.segments
        if given.decoder is not None:
            begun = given.decoder.clone()  # by another network's beginning, where that one has read the rows
            begun[:, 0] = self.begins
            more["decoder_input_ids"] = begun
        with heads.watched() as seen:
            answer = self.inner(input_ids=given.ids, attention_mask=given.mask.long(), **more)
        if not looks:
            return answer, None
        states = answer["hidden_states" if given.decoder is None else "decoder_hidden_states"]
        return answer, Inside(states, seen, given.places, given.mask, "first" if self._reads_both_ways else "last")

    @property
    def _reads_both_ways(self) -> bool:
        """So that its first token may stand for the whole text; otherwise the last one does."""
        return hasattr(self._config, "type_vocab_size") or self._config.model_type == "distilbert"

    def forward(self, given: TokenBatch) -> Tensor:
        logits: Tensor = self._call(given)[0].logits
        return logits

    @property
    def begins(self) -> int:
        """The id that stands before a text it writes."""
        found = getattr(self._config, "decoder_start_token_id", None)
        return self.reader.pad if found is None else int(found)

    def written(self, given: TokenBatch) -> list[str]:
        """What it makes of texts: at each place the likeliest token that its own `generation_config.json` allows, until it ends or is as
        long as what it reads may be."""
        longest = self.reading.max_length
        generate: Any = self.inner.generate
        if not self._config.is_encoder_decoder:
            return self._gone_on(given, longest)
        ids = generate(
            input_ids=given.ids,
            attention_mask=given.mask.long(),
            max_new_tokens=longest,
            do_sample=False,
            num_beams=1,
            decoder_start_token_id=self.begins,
            eos_token_id=self._config.eos_token_id if self._config.eos_token_id is not None else self.reader.end,
            pad_token_id=self.reader.pad,
        )
        return [self.reader.text(row) for row in ids.tolist()]

    def _gone_on(self, given: TokenBatch, longest: int) -> list[str]:
        """Of a language model, what it writes behind the texts. Rows of unlike lengths are padded on the left, where writing begins."""
        generate: Any = self.inner.generate
        begun, lengths = given.ids.shape[1], given.mask.sum(1)
        order = (torch.arange(begun, device=given.ids.device) + lengths[:, None]) % begun
        ids = generate(
            input_ids=given.ids.gather(1, order),
            attention_mask=given.mask.gather(1, order).long(),
            max_new_tokens=max(1, longest - longest // 2),  # as much room as what is gone on from may take
            do_sample=False,
            num_beams=1,
            eos_token_id=self.reader.end,
            pad_token_id=self.reader.pad,
        )
        return [self.reader.continued(row) for row in ids[:, begun:].tolist()]

    def pointed(self, given: TokenBatch, looks: Looks = NOTHING) -> Said:
        """Logits [2·B, L]: of each row how likely each token is the first of the answer, and the last; those outside are as good as
        impossible."""
        assert given.where is not None
        answer, seen = self._call(given, looks)
        z = torch.stack([answer.start_logits, answer.end_logits], dim=1)
        said = Said.of(z.float().masked_fill(~given.where[:, None], IMPOSSIBLE).flatten(0, 1))
        return replace(said, inside=seen, pointing=True)

    @property
    def positions(self) -> int | None:
        return longest(self._config.to_dict())

    @property
    def width(self) -> int:
        return int(self._config.hidden_size)

    def told(self, given: TokenBatch, looks: Looks = NOTHING) -> Said:
        """The logits of a whole vocabulary are made from the head's input where and when they are needed, never for all tokens at once:
        the head itself is given nothing. Ids beyond the tokenizer's, with which vocabularies are padded, are cut off."""
        if given.asked is None:
            answer, inside = self._call(given, looks)
            return replace(Said.of(answer.logits), inside=inside)
        head: nn.Linear | None = self.inner.get_output_embeddings()  # type: ignore[operator]
        if head is None:  # it tags tokens: its outputs are few
            answer, inside = self._call(given, looks)
            return replace(Said.of(answer.logits.flatten(0, 1)[given.asked]), inside=inside)
        seen: list[Tensor] = []

        def take(_head: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            seen.append(arguments[0])
            return (arguments[0][:, :0],)

        hook = head.register_forward_pre_hook(take)
        try:
            _, inside = self._call(given, looks)
        finally:
            hook.remove()
        features = seen[0].flatten(0, 1)[given.asked]
        real, bias = self.reader.vocabulary, head.bias
        if bias is None and getattr(self.inner, "final_logits_bias", None) is not None:  # BART and its kin add it after the head
            bias = self.inner.final_logits_bias[0]

        def logits(x: Tensor) -> Tensor:
            return torch.nn.functional.linear(x, head.weight[:real], bias[:real] if bias is not None else None)

        return Said(features, logits, real, inside)


def compute_again(network: nn.Module) -> None:
    """In training its layers' inner values are computed again for their gradients instead of kept (Chen et al. 2016,
    https://arxiv.org/abs/1604.06174). InvalidSpec where it has no such layers."""
    if not (isinstance(network, LibraryNetwork) and getattr(network.inner, "supports_gradient_checkpointing", False)):
        raise InvalidSpec(
            "training.gradient_checkpointing: this network has no layers that could be computed again.",
            code=ErrorCode.DOES_NOT_FIT,
            param="training.gradient_checkpointing",
            hint="Leave it out; training.micro_batch_size saves memory with every network.",
        )
    enable: Any = network.inner.gradient_checkpointing_enable
    enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def worth_of(network: nn.Module) -> tuple[int, bool]:
    """What decides whether it gains by computing in bf16: a transformer's width, 0 for other networks, and whether there is an LSTM."""
    recurrent = any(isinstance(module, nn.LSTM) for module in network.modules())
    return network.width if isinstance(network, LibraryNetwork) else 0, recurrent


def said_of(network: nn.Module, config: ModelConfig, given: Given, looks: Looks = NOTHING) -> Said:
    """What the network says of all that is asked for, of rows or of tokens; and what went on inside, where terms look at that."""
    if isinstance(network, Joint):
        return network.told(given)
    if isinstance(given, TokenBatch) and given.where is not None:
        assert isinstance(network, LibraryNetwork)
        return network.pointed(given, looks)
    if isinstance(given, TokenBatch):
        assert isinstance(network, TextNetwork)
        said = network.told(given, looks)
        if given.tasks is not None:
            said = replace(said, features=within(said.features, config, given))  # of rows these are the logits
    elif looks:
        logits, states = _layer_by_layer(network, scaled(given, config.input))
        said = replace(Said.of(logits), inside=Inside(states))
    else:
        said = Said.of(logits_of(network, config, given))
    return replace(Said.of(said.logits, several=True), inside=said.inside) if config.multi_label else said


def _looked_into(inner: nn.Module, given: TokenBatch) -> tuple[Tensor, list[Tensor]]:
    """Logits of each row, and the states on the way, of our own networks that read text."""
    embedded: list[Tensor] = []
    assert isinstance(inner, (Recurrent, TextCnn))
    hook = inner.embedding.register_forward_hook(lambda _module, _given, found: embedded.append(found))
    try:
        if isinstance(inner, TextCnn):
            found = inner.largest(given.ids, given.mask)
            return inner.classifier(inner.dropout(found)), [embedded[0], found]
        states = inner.run(given.ids, given.mask)
        return inner.read_off(states, given.mask), [embedded[0], states]
    finally:
        hook.remove()


def _layer_by_layer(network: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits, and what each layer gives: a dense layer or convolution with what is done to it before the next, or a residual block; after
    such blocks what is left of each channel. The first is what goes in."""
    assert isinstance(network, nn.Sequential)
    states = [x]
    for module in network:
        x = module(x)
        if isinstance(module, (nn.ReLU, Residual)):
            states.append(x)
        elif isinstance(module, nn.MaxPool2d):
            states[-1] = x
        elif isinstance(module, nn.AdaptiveAvgPool2d):
            states.append(x.flatten(1))
    return x, states


def rows_for(network: nn.Module, config: ModelConfig, split: Split | TextSplit, share: float | None = None, measured: bool = False) -> Rows:
    """The rows as this network takes them. share: of tokens to mask, in a masked language model; measured: always the same ones."""
    if not isinstance(split, TextSplit):
        return split
    assert isinstance(network, TextNetwork), "contract.fit checks that a network that reads text is given text"
    answers = config.made_for.answers
    if answers == "tags":
        return network.reader.tagged(split, network.reading)
    if answers == "span":
        return network.reader.questions(split, network.reading)
    if answers == "seq2seq":
        assert isinstance(network, LibraryNetwork)
        return network.reader.targets(split, network.reading, network.begins)
    if not config.by_token:
        return network.reader.read(split, network.reading)
    rows = network.reader.blocks(split, network.reading, config.task, share or 0.15)
    return rows.measured() if measured and isinstance(rows, MaskedBlocks) else rows
