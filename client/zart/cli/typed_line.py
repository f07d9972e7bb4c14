"""The command line as it was typed, and the lines of ``zart`` that are made of it, to be pasted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from zart.cli.shell import command_line


@dataclass
class TypedLine:
    """What was typed, with what is known of it once the command has read its options."""

    argv: Sequence[str] = ()
    address: str = ""  # empty: it is not typed, and a variable may name one
    valued: Collection[str] = ()  # the options behind which a value stands
    ages: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # by option, and their times

    def hint(self, *words: str) -> str:
        """Return the line of another command, which asks the server that was typed for this one.

        What a variable says holds in the shell that it is pasted into, too.
        """
        return command_line(["zart", *(["--address", self.address] * bool(self.address)), *words])

    def again(self, more: Sequence[tuple[str, str]], *flags: str) -> str:
        """Return this line, with more options, each with its value, that it does not have."""
        words, arguments = self._parts()
        for option, value in more:
            given = any(word == option or word.startswith(f"{option}=") for word in words)
            if value and not given:
                words += [option, value]
        return command_line([*words, *flags, *arguments])

    def applying(self, plan_token: str) -> str:
        """Return the line that does what this one planned."""
        before, arguments = self._parts()
        token = {"--dry-run": ["--plan-token", plan_token]}
        words = [each for word in before for each in token.get(word, [word])]
        return command_line([*words, *arguments])

    def _parts(self) -> tuple[list[str], list[str]]:
        """Return the words, up to ``--`` and from it on: behind it nothing is an option."""
        words, at = self._words(), 0
        while at < len(words) and words[at] != "--":
            at += 2 if words[at] in self.valued else 1
        return words[:at], words[at:]

    def _words(self) -> list[str]:
        """Return the words as they say the same later: with times in place of ages."""
        found = ["zart"]
        for word in self.argv:
            option, is_given, text = word.partition("=")
            if (age := self.ages.get(found[-1])) and age[0] == word:
                found.append(age[1])
            elif is_given and (age := self.ages.get(option)) and age[0] == text:
                found.append(f"{option}={age[1]}")
            else:
                found.append(word)
        return found
