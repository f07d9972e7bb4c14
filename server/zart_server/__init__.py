"""The zart control plane: app → api → engine → store → domain; imports run downhill."""
