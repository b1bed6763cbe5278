//! ActivityPub vocabulary and ids as functions of bytes.
