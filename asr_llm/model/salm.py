"""SpanSALM: NeMo's SALM for sequences of text and speech spans.

Legend: B rows, L positions after splicing, T tokens, H hidden size, V vocabulary.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import torch
from nemo.collections.common.prompts import PromptFormatter
from nemo.collections.speechlm2.models import SALM
from nemo.core.classes import common as nemo_classes
from peft import PeftModel
from torch import Tensor, nn
from torch.nn import functional as F

from asr_llm.errors import CheckpointError
from asr_llm.model.ctc_vocabulary import CtcVocabulary
from asr_llm.model.frame_cache import CachedEncoder
from asr_llm.model.log_probs import output_layer
from asr_llm.model.splice import IGNORE, Encoded, Places, Spliced, splice
from asr_llm.sequences.batch import Batch
from asr_llm.sequences.tasks import Chat

# NeMo only instantiates classes of known packages. With this module imported, its own
# ``SALM.from_pretrained`` can instantiate ours too.
nemo_classes.ALLOWED_TARGET_PREFIXES += ["asr_llm.model.whisper.", "asr_llm.model.posteriors."]


_OPENED = ("gemma",)
"""NeMo's formats whose user turn ends with the opening of the answer."""


class SpanSALM(SALM):
    """SALM with speech spans spliced into the text; batches may hold no speech.

    State-dict keys, config and ``save_pretrained`` layout are SALM's own. ``ctc_head``, if
    set, is a linear CTC output layer on the encoder, stored beside the SALM weights.
    """

    def __init__(self, cfg: dict[str, Any]) -> None:
        super().__init__(cfg)
        self.ctc_head: nn.Linear | None = None
        self.ctc_vocabulary = CtcVocabulary(
            self.tokenizer.tokenizer, self.text_vocab_size, self.cfg.get("ctc_tokenizer_path")
        )
        self.cached_encoder: CachedEncoder | None = None

    @property
    def frame_samples(self) -> int:
        """Audio samples per encoder frame."""
        return round(self.token_equivalent_duration * self.sampling_rate)

    @property
    def chunk_seconds(self) -> float:
        """Longest audio to encode at once: about the longest seen in training."""
        return float(self.cfg.get("chunk_seconds", 20.0))

    @property
    def pause_seconds(self) -> float:
        """Pause that ends a chunk: about the longest seen in training."""
        return float(self.cfg.get("pause_seconds", 1.0))

    @property
    def ctc_blank_id(self) -> int:
        """Index of the CTC blank: one past the head's vocabulary."""
        return self.ctc_vocabulary.blank

    @property
    def chat(self) -> Chat:
        """The chat template of the checkpoint's training, as in NeMo's formatter.

        Formats with thinking are prompted without it.

        Raises:
            CheckpointError: NeMo has no such format, or it does not consist of plain turns.
        """
        try:
            formatter = PromptFormatter.resolve(self.cfg.prompt_format)
            before, after = formatter.TEMPLATE["user"]["template"].split("|message|")
            answer = formatter.TEMPLATE[formatter.OUTPUT_ROLE]["template"].split("|message|")[1]
            opened = "" if formatter.NAME in _OPENED else formatter.INFERENCE_PREFIX
            asked = after + opened + getattr(formatter, "NO_THINK_PREFIX", "")
            if formatter.INSERT_BOS:
                before = self.tokenizer.tokenizer.bos_token + before
        except (RuntimeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"prompt_format is {self.cfg.prompt_format!r}; expected turns between special "
                "tokens, such as NeMo's qwen, qwen3 or llama3: check the checkpoint's config.json"
            ) from error
        return Chat(
            before=before,
            after=asked,
            end=answer.rstrip("\n"),
            asr_prompt=self.cfg.get("asr_prompt", Chat.asr_prompt),
            frame_samples=self.frame_samples,
            sample_rate=self.sampling_rate,
            biasing_prompt=self.cfg.get("biasing_prompt"),
            first_pass_prompt=self.cfg.get("first_pass_prompt"),
        )

    @property
    def max_seconds(self) -> float:
        """The longest audio that the encoder takes at once; Whisper's has positions for 30 s."""
        return float(getattr(self.perception.encoder, "max_seconds", math.inf))

    def add_ctc_head(self) -> nn.Linear:
        """Add a new CTC output layer to the encoder."""
        width = self.perception.encoder.d_model
        self.ctc_head = nn.Linear(width, self.ctc_blank_id + 1).to(self.embed_tokens.weight)
        return self.ctc_head

    def encode(
        self, audios: Tensor, audio_lens: Tensor, keys: list[str | None] | None = None
    ) -> Encoded:
        """Speech to embeddings.

        Args:
            audios: (B_audio, T_samples) float32 at 16 kHz.
            audio_lens: (B_audio,) samples.
            keys: hashes of audios that ``cached_encoder``, if set, keeps.
        """
        if self.cached_encoder is not None and keys is not None:
            encoded, lens = self.cached_encoder(audios, audio_lens, keys)
            return Encoded(self._project(encoded, lens), lens, encoded)
        rows = len(audios)
        if audios.device.type == "cpu" and not torch.is_grad_enabled():
            rows = 1  # several are no faster, and a batch's shape would show in the last digits
        parts = [
            self.perception(
                input_signal=some[:, : int(lens.max())],
                input_signal_length=lens,
                return_encoder_emb=True,
            )
            for some, lens in zip(audios.split(rows), audio_lens.split(rows))
        ]
        projected, counts, outputs = zip(*parts)
        return Encoded(_joined(projected), torch.cat(counts), _joined(outputs))

    def _project(self, encoded: Tensor, lens: Tensor) -> Tensor:
        """The encoder's output (B_audio, T_frames, D) through the projector."""
        adapted, _ = self.perception.modality_adapter(
            audio_signal=encoded.transpose(1, 2), length=lens
        )
        return self.perception.proj(adapted.transpose(1, 2))

    def splice(self, batch: Batch, pack: int | None = None) -> Spliced:
        """Embed a batch, with speech frames in place of the audio locator tags.

        Args:
            pack: see ``model.splice.splice``.

        Raises:
            ValueError: an audio is encoded to a different number of frames than its spans expect.
        """
        speech = batch.speech
        heard = None
        if speech is not None:
            heard = self.encode(speech.audios, speech.audio_lens, speech.audio_keys)
        places = Places(self.text_pad_id, self.audio_locator_tag_id)
        return splice(batch, heard, self.embed_tokens, places, pack)

    @property
    def embeddings(self) -> Tensor:
        """(V, H), each token's as the LLM reads it: Gemma's are scaled."""
        return self.embed_tokens.weight * getattr(self.embed_tokens, "embed_scale", 1.0)

    @property
    def causal_lm(self) -> Any:
        """The Hugging Face causal LM, whether PEFT wraps it or not."""
        return self.llm.get_base_model() if isinstance(self.llm, PeftModel) else self.llm

    def hidden_states(
        self,
        input_embeds: Tensor,
        attention_mask: Tensor | None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        """Run the decoder without its output layer: (B, L, H) to (B, L, H).

        Without a mask, position ids that begin anew begin another sequence, which attends to
        nothing before it: so transformers takes packed rows, for each of its attentions.
        """
        return self.causal_lm.model(
            inputs_embeds=input_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            use_cache=False,
        ).last_hidden_state

    def losses(self, batch: Batch, pack: int | None = None) -> dict[str, Tensor]:
        """Losses of a batch, each a mean per target token.

        Args:
            pack: as for ``splice``; changes nothing but the speed.

        Returns:
            ``lm``: cross-entropy on the text with loss, the output layer applied only there;
            ``ctc``: where a CTC head is set and the batch holds ``ctc_targets``;
            ``kl``: where the batch has ``kl`` weights, the weighted divergence from what the LLM
            without its adapter expects when it reads what is said;
            ``tokens``: number of target tokens.
        """
        spliced = self.splice(batch, pack)
        embeds, mask = spliced.input_embeds, spliced.attention_mask
        # Position t predicts the token at t + 1.
        if spliced.position_ids is None:
            hidden = self.hidden_states(embeds[:, :-1], mask[:, :-1])
        else:
            hidden = self.hidden_states(embeds[:, :-1], None, spliced.position_ids[:, :-1])
        targets = spliced.target_ids[:, 1:]
        # A row's first token has only padding before it: never a loss.
        scored = (targets != IGNORE) & mask[:, :-1]
        logits = output_layer(self.causal_lm)(hidden[scored])  # (N, V)
        out = {
            "lm": F.cross_entropy(logits.float(), targets[scored]),
            "tokens": scored.sum(),
        }
        if batch.kl is not None:
            origin = spliced.origin[:, 1:][scored]
            out["kl"] = self._divergence(batch, logits, origin) / scored.sum()
        if self.ctc_head is not None and batch.speech and batch.speech.ctc_targets is not None:
            out["ctc"] = self._ctc_loss(
                spliced.encoded, spliced.encoded_lens, batch.speech.ctc_targets
            )
        return out

    def _divergence(self, batch: Batch, logits: Tensor, origin: Tensor) -> Tensor:
        """Weighted sum of KL(LLM that reads || model that listens) over the batch's ``kl`` tokens.

        Args:
            logits: (N, V) of the tokens with loss.
            origin: (N,), where each stands in ``batch.input_ids``.
        """
        assert batch.kl is not None and batch.read is not None
        weights = batch.kl.flatten()[origin]
        order = origin.argsort()  # packing puts rows in another
        order = order[weights[order] > 0]
        expected = self._expected(batch.read).log_softmax(-1)
        found = logits[order].float().log_softmax(-1)
        divergences = (expected.exp() * (expected - found)).sum(-1)
        return (weights[order] * divergences).sum()

    @torch.no_grad()
    def _expected(self, read: Batch) -> Tensor:
        """Logits (N, V) of a batch's N tokens with loss, by the LLM without dropout and adapter."""
        llm, training = self.llm, self.llm.training
        llm.eval()
        with llm.disable_adapter() if isinstance(llm, PeftModel) else nullcontext():
            spliced = self.splice(read)
            embeds, mask = spliced.input_embeds, spliced.attention_mask
            hidden = self.hidden_states(embeds[:, :-1], mask[:, :-1])
            scored = (spliced.target_ids[:, 1:] != IGNORE) & mask[:, :-1]
            logits = output_layer(self.causal_lm)(hidden[scored]).float()
        llm.train(training)
        return logits

    def ctc_loss(self, batch: Batch) -> Tensor:
        """The CTC loss alone, a mean per target token; the LLM is not run.

        Raises:
            ValueError: the batch has no CTC targets.
            CheckpointError: there is no CTC head.
        """
        speech = batch.speech
        if speech is None or speech.ctc_targets is None:
            raise ValueError("no CTC targets in the batch; expected speech, and a Collator's ctc")
        heard = self.encode(speech.audios, speech.audio_lens, speech.audio_keys)
        return self._ctc_loss(heard.encoded, heard.lens, speech.ctc_targets)

    def ctc_log_probs(self, encoded: Tensor) -> Tensor:
        """CTC emissions (…, T_frames, V + 1), float32, from the encoder's output (…, T_frames, D).

        Raises:
            CheckpointError: there is no CTC head.
        """
        if self.ctc_head is None:
            raise CheckpointError("this checkpoint has no CTC head; expected ctc_head.safetensors")
        # The encoder may have run in another precision than the head's.
        return self.ctc_head(encoded.to(self.ctc_head.weight)).float().log_softmax(-1)

    def _ctc_loss(self, encoded: Tensor, lens: Tensor, targets: list[Tensor]) -> Tensor:
        log_probs = self.ctc_log_probs(encoded)
        target_lens = torch.tensor([len(t) for t in targets])
        return (
            F.ctc_loss(
                log_probs.transpose(0, 1),
                torch.cat(targets).to(encoded.device),
                lens.cpu(),
                target_lens,
                blank=self.ctc_blank_id,
                reduction="sum",
                zero_infinity=True,
            )
            / target_lens.sum()
        )


def _joined(parts: tuple[Tensor, ...]) -> Tensor:
    """Batches (B_i, T_i, H) as one (B, T, H), padded on the right."""
    if len(parts) == 1:
        return parts[0]
    longest = max(part.shape[1] for part in parts)
    return torch.cat([F.pad(part, (0, 0, 0, longest - part.shape[1])) for part in parts])
