#!/usr/bin/env python3
"""Computes the values that `seal::tests::the_format_is_pinned` expects, from the documentation of `seal.rs` alone, with other
people's primitives (Python's hmac, pyca/cryptography). Run by hand when the format changes on purpose."""
import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FORMAT, VERSION, RING_KEY, NONCE = b"\x01", (7).to_bytes(4, "big"), b"\x11" * 32, b"\x05" * 12


def mac(key, message):
    return hmac.new(key, message, hashlib.sha256).digest()


def subkey(secret, info):
    return mac(mac(b"keyward/v1/ring", secret), info + b"\x01")


def framed(text):
    return len(text).to_bytes(8, "big") + text


def seal(key, label, store_key, plaintext):
    data = FORMAT + framed(label) + framed(store_key)
    return FORMAT + VERSION + NONCE + AESGCM(key).encrypt(NONCE, plaintext, data)


key, outcome = b"keyward/v1/key", b"keyward/v1/outcome"
print(seal(subkey(RING_KEY, key), key, b"m:00ff", b"keyward").hex())
print(seal(subkey(RING_KEY + b"idempotency-1", outcome + b"/bound"), outcome, b"y:00ff", b"keyward").hex())
print(mac(subkey(RING_KEY, b"keyward/v1/keyed-digest"), framed(b"m:00ff") + b"keyward").hex())
