//! Opening a signed checkpoint. Nothing of its text is looked at before a signature of a known key holds.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signature;

use super::{Checkpoint, SIGNATURE_MARK, VerifierKey, is_key_name};

/// The longest note, in bytes: C2SP signed-note wants 16 signatures of up to 5 kB read, which are 107 kB in base64.
pub const NOTE_BYTES_MAX: usize = 128 << 10;

/// The most signature lines. Four times what C2SP signed-note wants read at least.
pub const SIGNATURES_MAX: usize = 64;

/// Which rule a signed checkpoint broke. The note's maker, or whoever carried it, is to blame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Longer than anything that we read.
    #[error("the note has {bytes} bytes; expected at most {NOTE_BYTES_MAX}")]
    Length {
        /// How many it has.
        bytes: usize,
    },
    /// A control character, such as a carriage return.
    #[error("the note has the control character {byte:#04x}; expected none but line feeds")]
    Control {
        /// Which one.
        byte: u8,
    },
    /// No signatures where they belong.
    #[error("the note is not a text, an empty line and signature lines, each ended by a line feed")]
    Form,
    /// More signatures than we read.
    #[error("the note has {lines} signature lines; expected at most {SIGNATURES_MAX}")]
    Signatures {
        /// How many it has.
        lines: usize,
    },
    /// A line that is no signature.
    #[error("signature line {line} of the note is none; expected `{SIGNATURE_MARK}<key name> <base64>`")]
    SignatureLine {
        /// Its place among the signature lines, from 1.
        line: usize,
    },
    /// Signed in a known key's name, but not by it: the text was changed, or the signature is forged.
    #[error("the signature of the key `{name}` is not authentic")]
    NotAuthentic {
        /// The key's name.
        name: String,
    },
    /// No known key signed.
    #[error("the note is not signed by any of the {known} known keys")]
    NotSigned {
        /// How many keys are known.
        known: usize,
    },
    /// The first line is no origin.
    #[error("the checkpoint has no origin in its first line")]
    Origin,
    /// The second line is no size.
    #[error(
        "the checkpoint's second line is no tree size; expected a decimal number below 2^64 without leading zeros"
    )]
    Size,
    /// The third line is no root.
    #[error("the checkpoint's third line is no root hash; expected base64 of 32 bytes")]
    Root,
    /// An empty line after the root.
    #[error("the checkpoint has an empty line; expected extension lines not to be empty")]
    Extension,
}

/// Opens a signed checkpoint: at least one of `keys` must have signed it, and every signature in the name and id of one of them
/// must hold. Signatures of other keys are passed over, extension lines too.
///
/// It does not say *which* log this is: the caller compares the origin.
///
/// # Errors
/// See [`NoteError`]; nothing of the note may then be believed.
pub fn open(note: &str, keys: &[VerifierKey]) -> Result<Checkpoint, NoteError> {
    if note.len() > NOTE_BYTES_MAX {
        return Err(NoteError::Length { bytes: note.len() });
    }
    if let Some(byte) = note.bytes().find(|byte| *byte < b' ' && *byte != b'\n') {
        return Err(NoteError::Control { byte });
    }
    let (text, signatures) = parts(note).ok_or(NoteError::Form)?;
    let lines = signatures.lines().count();
    if lines > SIGNATURES_MAX {
        return Err(NoteError::Signatures { lines });
    }
    let mut signed = false;
    for (line, signature) in (1..).zip(signatures.lines()) {
        let (name, id, signature) = signature_line(signature).ok_or(NoteError::SignatureLine { line })?;
        let Some(known) = keys.iter().find(|key| key.name == name && key.id() == id) else { continue };
        let holds = Signature::from_slice(&signature)
            .is_ok_and(|signature| known.key.verify_strict(text.as_bytes(), &signature).is_ok());
        if !holds {
            return Err(NoteError::NotAuthentic { name: name.to_owned() });
        }
        signed = true;
    }
    if !signed {
        return Err(NoteError::NotSigned { known: keys.len() });
    }
    checkpoint(text)
}

/// The signed text, with its last line feed, and the signature lines, of which there is at least one.
fn parts(note: &str) -> Option<(&str, &str)> {
    let (_, signatures) = note.rsplit_once("\n\n")?;
    let text = note.strip_suffix(signatures)?.strip_suffix('\n')?;
    signatures.ends_with('\n').then_some((text, signatures))
}

/// Name, key id and signature of a line.
fn signature_line(line: &str) -> Option<(&str, [u8; 4], Vec<u8>)> {
    let (name, encoded) = line.strip_prefix(SIGNATURE_MARK)?.split_once(' ')?;
    let bytes = STANDARD.decode(encoded).ok()?;
    let (id, signature) = bytes.split_first_chunk()?;
    (is_key_name(name) && !signature.is_empty()).then(|| (name, *id, signature.to_vec()))
}

fn checkpoint(text: &str) -> Result<Checkpoint, NoteError> {
    let mut lines = text.lines();
    let origin = lines.next().filter(|line| !line.is_empty()).ok_or(NoteError::Origin)?;
    let size = lines.next().and_then(size).ok_or(NoteError::Size)?;
    let root = lines.next().and_then(|line| STANDARD.decode(line).ok()).ok_or(NoteError::Root)?;
    let root = root.try_into().map_err(|_| NoteError::Root)?;
    if lines.any(str::is_empty) {
        return Err(NoteError::Extension);
    }
    Ok(Checkpoint { origin: origin.to_owned(), size, root })
}

/// A size in its one spelling.
fn size(line: &str) -> Option<u64> {
    line.parse().ok().filter(|size: &u64| size.to_string() == line)
}
