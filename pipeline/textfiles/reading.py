"""What a user says about a text file."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.textfiles.encodings import TableFileError
from pipeline.textfiles.words import MissingWords


@dataclass(frozen=True)
class Reading:
    """What a user says about a text file; what is empty is detected.

    missing: texts that mean a missing cell, in place of the usual ones; the empty cell always does. missing_in: (column,
    text) that means it in that column, in addition. quote: "none" for a file without quotes. header: None: detected.
    """

    separator: str = ""
    encoding: str = ""
    decimal: str = ""
    thousands: str = ""
    quote: str = ""
    comment: str = ""
    header: bool | None = None
    missing: tuple[str, ...] | None = None
    missing_in: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.decimal not in ("", ".", ","):
            raise TableFileError(f"'decimal' must be . or a comma. Got {self.decimal!r}.")
        if self.decimal and self.decimal == self.thousands:
            raise TableFileError(f"'decimal' and 'thousands' must differ. Got {self.decimal!r} for both.")
        for name in ("separator", "thousands"):
            if len(self._plain(name)) > 1:
                raise TableFileError(f"'{name}' must be one character, or tab. Got {getattr(self, name)!r}.")
        if self.quote not in ("", "none") and len(self.quote) != 1:
            raise TableFileError(f"'quote' must be one character, or none. Got {self.quote!r}.")

    def _plain(self, name: str) -> str:
        text = getattr(self, name)
        named = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "space": " ", "spaces": " ", "bar": "|"}
        return named.get(text, text)

    def words(self, usual: tuple[str, ...], loose: bool = True) -> MissingWords:
        """The texts that mean missing in a text file, where `usual` ones do."""
        return MissingWords(usual if self.missing is None else self.missing, loose, in_columns=self.missing_in)

    def dialect(self) -> dict[str, str | bool]:
        """The fields of Dialect that are given."""
        given: dict[str, str | bool] = {}
        if self.separator:
            given["separator"] = self._plain("separator")
        if self.quote:
            given["quote"] = "" if self.quote == "none" else self.quote
        if self.comment:
            given["comment"] = "" if self.comment == "none" else self.comment
        if self.header is not None:
            given["header"] = self.header
        return given
