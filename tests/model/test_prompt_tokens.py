"""Prompts as people write them, split by a tokenizer alone."""

import pytest

from mos_model.errors import PromptError
from mos_model.prompts.prompt_tokens import PromptTokenizer, placeholders
from tests.support.bases import TOKENS, save_tokenizer

NAMES = ("north/rex", "rex", "north/tom", "south/tom", "miso")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PromptTokenizer:
    own = save_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    return PromptTokenizer({"text_encoder": own, "text_encoder_2": own}, NAMES)


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("a photo of <rx>", "<rx> names no concept of the model; did you mean <rex>?"),
        ("<Rex>", "did you mean <rex>?"),
        ("<rexx>", "did you mean <rex>?"),
        ("<zzz>", "<zzz> names no concept of the model; known: <miso>, <north/rex>"),
        ("<tom>", "<tom> may be <north/tom> or <south/tom>; say which"),
        ("<lora:detail:0.6> a cat", "<lora:detail:0.6> is another tool's syntax"),
        ("<LoRA:detail:0.6> a cat", "leave it out"),
        ("a red cat " * 20, f"tokens, the base takes {TOKENS}: shorten"),
    ],
)
def test_prompt_that_cannot_be_read_is_refused_with_the_way_out(
    tokenizer: PromptTokenizer, prompt: str, reason: str
) -> None:
    with pytest.raises(PromptError) as error:
        tokenizer.check(prompt)
    assert reason in str(error.value)


def test_without_a_model_the_escape_is_named(tokenizer: PromptTokenizer) -> None:
    bare = PromptTokenizer(tokenizer._tokenizers, ())
    with pytest.raises(PromptError, match=r"no concept is loaded; .* write \\< for"):
        bare.check("a <3> b")


def test_escaped_bracket_is_a_literal_one(tokenizer: PromptTokenizer) -> None:
    plain = tokenizer.tokenize("a < b >").ids
    assert tokenizer.tokenize(r"a \< b >").ids == plain
    assert tokenizer.tokenize(r"a \<rex>").concepts == ()
    assert tokenizer.tokenize("a <rex>").concepts == ((2, "rex"),)
    assert placeholders(r"\<rex> <miso>") == ("miso",)
