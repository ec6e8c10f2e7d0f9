"""What PEFT's settings say of a LoRA's scale, and whether it is plain LoRA at all.

They stand in `adapter_config.json` beside the weights (PEFT), or in the header's
`lora_adapter_metadata` (diffusers, one set for each component). A setting either is
known to leave dW = alpha / r * up @ down as it is, or it must not be set.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from mos_model.errors import ConceptError

_METADATA: Final = "lora_adapter_metadata"
_PEFT: Final = "base_model.model."
_HARMLESS: Final = frozenset(
    {
        *("alpha_pattern", "lora_alpha", "r", "rank_pattern", "use_rslora"),
        *("auto_mapping", "base_model_name_or_path", "inference_mode", "peft_type"),
        *("peft_version", "revision", "task_type", "runtime_config"),
        *("exclude_modules", "layers_pattern", "layers_to_transform"),
        *("target_modules", "target_parameters", "fan_in_fan_out", "lora_dropout"),
        *("corda_config", "eva_config", "loftq_config", "lora_ga_config"),
        *("init_lora_weights", "megatron_core", "qalora_group_size"),
        *("ensure_weight_tying", "bias", "velora_config"),
    }
)
"""Read here, or without effect on a tuned update; the rest must be off."""

_PLAIN_STARTS: Final = (True, False, "gaussian", "eva", "orthogonal")
"""`init_lora_weights` that leave the base as it is."""

_CHANGED_BASE: Final = re.compile(r"pissa(_niter_\d+)?|olora|corda|loftq|lora_ga")


class PeftSettings:
    """alpha of every layer, where its file has no key for it."""

    def __init__(
        self, metadata: Mapping[str, str], adapter: Mapping[str, Any] | None
    ) -> None:
        """Take both places.

        Args:
            metadata: The file's own header.
            adapter: What `adapter_config.json` beside a PEFT file says.

        Raises:
            ConceptError: the header's settings are not a JSON object.
        """
        self._metadata, self._adapter = _of_header(metadata), adapter
        self._checked: set[str] = set()

    def alpha(self, layer: str, rank: int) -> float:
        """Alpha of a layer without a key for it; `rank` where no setting has another.

        Raises:
            ConceptError: not plain LoRA, or a scale that is absent or no number.
        """
        component, _, rest = layer.partition(".")
        if layer.startswith(_PEFT):
            if self._adapter is None:
                raise ConceptError(
                    "a PEFT file has its scale in adapter_config.json, which is not in "
                    "the same folder"
                )
            config, rest = self._adapter, layer.removeprefix(_PEFT)
            component = _PEFT
        else:
            mark = f"{component}."
            own = self._metadata.items()
            config = {k.removeprefix(mark): v for k, v in own if k.startswith(mark)}
        if component not in self._checked:
            _check_plain(config)
            self._checked.add(component)
        alpha = _matching(config.get("alpha_pattern") or {}, rest)
        alpha = config.get("lora_alpha", rank) if alpha is None else alpha
        if type(alpha) not in (int, float) or not _is_finite(alpha):
            raise ConceptError(
                f"layer {layer[:120]}: alpha is {alpha!r:.40}, no number"
            )
        # rank-stabilised LoRA (arXiv:2312.03732) divides by sqrt(r).
        return float(alpha) * (math.sqrt(rank) if config.get("use_rslora") else 1.0)


def _check_plain(config: Mapping[str, Any]) -> None:
    method = config.get("peft_type")
    if method not in (None, "LORA"):
        raise ConceptError(f"this is {method!r:.40} of PEFT; only plain LoRA is read")
    if config.get("use_dora"):
        raise ConceptError("this is DoRA; only plain LoRA is read")
    start = config.get("init_lora_weights", True)
    if isinstance(start, str) and _CHANGED_BASE.fullmatch(start):
        raise ConceptError(
            f"init_lora_weights is {start!r}: its factors add to a base that PEFT "
            "changed; convert it with PEFT's `save_pretrained(..., "
            "path_initial_model_for_weight_conversion=...)`, which writes plain LoRA"
        )
    if not any(type(start) is type(one) and start == one for one in _PLAIN_STARTS):
        raise ConceptError(
            f"init_lora_weights is {start!r:.60}, which is not known here; known are "
            f"{', '.join(map(str, _PLAIN_STARTS))}"
        )
    if config.get("bias") not in (None, "none"):
        raise ConceptError(f"bias is {config['bias']!r:.40}; only plain LoRA is read")
    for key, value in config.items():
        if key not in _HARMLESS and value not in (None, False, "", [], {}):
            raise ConceptError(
                f"{key[:60]} is {value!r:.60}; only plain LoRA is read, without it"
            )


def _is_finite(number: int | float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # JSON's integers have no end
        return False


def _matching(pattern: Any, layer: str) -> Any:
    """PEFT's patterns are suffixes, or regular expressions, which are not run here."""
    if not isinstance(pattern, Mapping):
        raise ConceptError("alpha_pattern is no object")
    for suffix, alpha in pattern.items():
        plain = str(suffix).removeprefix("^")
        if re.search(r"[^\w.-]", plain):
            raise ConceptError(f"alpha_pattern {plain[:80]!r}: not a layer's name")
        if layer == plain or layer.endswith(f".{plain}"):
            return alpha
    return None


def _of_header(metadata: Mapping[str, str]) -> Mapping[str, Any]:
    try:
        settings = json.loads(metadata.get(_METADATA, "{}"))
    except (ValueError, RecursionError) as error:
        raise ConceptError(f"{_METADATA} in the header is no JSON") from error
    if not isinstance(settings, dict):
        raise ConceptError(f"{_METADATA} in the header is no object")
    return settings
