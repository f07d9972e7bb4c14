-- Nothing asks it: whoever asks which rule pauses a step names the attempt, which a rule may have let go.
DROP FUNCTION zart.pausing_rule(text, text, text);
