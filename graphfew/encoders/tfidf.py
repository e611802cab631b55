"""`tfidf`: texts by their words and character n-grams, without pretrained weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from graphfew.encoders.item_encoder import Features, ItemEncoder
from graphfew.errors import InvalidInputError

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

NAME = "tfidf"
# Chosen on benchmarks/encoders, see the record there.
N_COMPONENTS = 256
_SEED = 0
_BATCH_SIZE = 4096


def tfidf_encoder() -> ItemEncoder:
    """Build the encoder `tfidf`.

    Words, and groups of 2 to 4 characters inside words, are weighted by their inverse
    document frequency and projected to their 256 most important directions (latent semantic
    analysis). Vocabulary, weights and directions are learned from the texts of `fit`, labeled or
    not.

    Returns:
        The encoder.

    Example:
        >>> fitted = tfidf_encoder().fit(["red car", "red bus", "green tree"])
        >>> features = fitted.encode(["a red van", "green trees"])
        >>> features.shape
        (2, 3)

    Source:
        Deerwester et al. 1990, Indexing by latent semantic analysis.
    """
    return ItemEncoder(NAME, ("text",), fit_tfidf, _BATCH_SIZE)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class TfidfProjection:
    """Vectorizers of words and of characters, and the projection of their weights.

    Attributes:
        vectorizers: fitted, of words and of characters.
        components: `[F, V]` directions of the projection.
    """

    vectorizers: tuple[TfidfVectorizer, ...]
    components: NDArray[np.float32]

    def __call__(self, texts: Sequence[Any]) -> Features:
        """Encode texts to `[n, F]`, scaled to length 1; zero if none of their n-grams is known."""
        weights = [vectorizer.transform(texts) for vectorizer in self.vectorizers]
        return _project(_stack(weights), self.components)


def fit_tfidf(texts: Sequence[Any], /) -> TfidfProjection:
    """Learn vocabulary, weights and projection from texts.

    Raises:
        InvalidInputError: no text has a word or character.
    """
    # Seconds to import, which other encoders do not need.
    from sklearn.feature_extraction.text import TfidfVectorizer

    options = {"sublinear_tf": True, "dtype": np.float32, "strip_accents": "unicode"}
    # The pattern keeps single characters, which are words in some scripts.
    words = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", **options)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), **options)
    fitted, weights = [], []
    for vectorizer in (words, characters):
        try:
            weights.append(vectorizer.fit_transform(texts))
        except ValueError:
            continue  # no words, such as in texts of punctuation
        fitted.append(vectorizer)
    if not fitted:
        raise InvalidInputError(
            f"the {len(texts)} texts are empty; give at least one with a word or a number"
        )
    return TfidfProjection(tuple(fitted), _components(_stack(weights)))


def _stack(weights: Sequence[Any]) -> Any:
    """`[n, V]` sparse weights of all vectorizers, each text scaled to length 1."""
    from scipy import sparse
    from sklearn.preprocessing import normalize

    return normalize(sparse.hstack(weights, format="csr"))


def _components(weights: Any) -> NDArray[np.float32]:
    """`[F, V]` leading right singular vectors."""
    from sklearn.utils.extmath import randomized_svd

    n_components = min(N_COMPONENTS, *weights.shape)
    _, values, components = randomized_svd(weights, n_components, n_iter=4, random_state=_SEED)
    # Texts that repeat each other have fewer directions than texts.
    important = values > 1e-4 * values[0]
    found: NDArray[np.float32] = components[important].astype(np.float32)
    return found


def _project(weights: Any, components: NDArray[np.float32]) -> Features:
    features: Features = np.asarray(weights @ components.T, dtype=np.float32)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    features /= np.maximum(lengths, 1e-12)
    return features
