"""HTTP/JSON for the RPCs that have a google.api.http annotation: a client like any other.

It knows the descriptors only, so an RPC is reached over HTTP by annotating it in the protos.
"""
