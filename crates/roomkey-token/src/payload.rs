//! Writing the claims of a token as JSON, quickly: names are written as they stand, and only texts are looked through.
//!
//! What it writes is what the types' `Serialize` writes with serde_json.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::numeric_date::NumericDate;
use crate::raw_json::RawJson;

/// A value of a claim.
pub(crate) trait Write {
    /// Whether it is what its absence means, so that it is not written.
    fn is_unset(&self) -> bool;

    /// Writes it.
    fn write(&self, json: &mut Vec<u8>);
}

/// Writes an object: each entry with its name, unless it is unset.
pub(crate) struct ObjectWriter<'a> {
    json: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> ObjectWriter<'a> {
    pub(crate) fn begin(json: &'a mut Vec<u8>) -> Self {
        json.push(b'{');
        Self { json, is_empty: true }
    }

    /// Writes an entry whose name needs no escapes.
    pub(crate) fn entry(&mut self, name: &str, value: &impl Write) {
        if value.is_unset() {
            return;
        }
        self.separate();
        self.json.push(b'"');
        self.json.extend_from_slice(name.as_bytes());
        self.json.extend_from_slice(b"\":");
        value.write(self.json);
    }

    /// Writes an entry with any name, set or not.
    pub(crate) fn any_entry(&mut self, name: &str, value: &impl Write) {
        self.separate();
        write_text(name, self.json);
        self.json.push(b':');
        value.write(self.json);
    }

    pub(crate) fn end(self) {
        self.json.push(b'}');
    }

    fn separate(&mut self) {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.json.push(b',');
        }
    }
}

fn write_text(text: &str, json: &mut Vec<u8>) {
    // Without a way out half-way, the loop compares many bytes at once.
    let is_plain = text.bytes().fold(true, |plain, byte| plain & (byte >= b' ') & (byte != b'"') & (byte != b'\\'));
    if is_plain {
        json.push(b'"');
        json.extend_from_slice(text.as_bytes());
        json.push(b'"');
    } else {
        write_by_serde(text, json);
    }
}

/// Writes what is not worth more code.
pub(crate) fn write_by_serde(value: &(impl Serialize + ?Sized), json: &mut Vec<u8>) {
    serde_json::to_writer(json, value).expect("writing our own types to memory cannot fail");
}

impl Write for bool {
    fn is_unset(&self) -> bool {
        !self
    }

    fn write(&self, json: &mut Vec<u8>) {
        json.extend_from_slice(if *self { b"true" } else { b"false" });
    }
}

impl Write for str {
    fn is_unset(&self) -> bool {
        self.is_empty()
    }

    fn write(&self, json: &mut Vec<u8>) {
        write_text(self, json);
    }
}

impl Write for String {
    fn is_unset(&self) -> bool {
        self.is_empty()
    }

    fn write(&self, json: &mut Vec<u8>) {
        write_text(self, json);
    }
}

impl<T: Write + ?Sized> Write for &T {
    fn is_unset(&self) -> bool {
        (**self).is_unset()
    }

    fn write(&self, json: &mut Vec<u8>) {
        (**self).write(json);
    }
}

/// Absent is unset; what is there is written, be it what its own absence would mean.
impl<T: Write> Write for Option<T> {
    fn is_unset(&self) -> bool {
        self.is_none()
    }

    fn write(&self, json: &mut Vec<u8>) {
        match self {
            Some(value) => value.write(json),
            None => json.extend_from_slice(b"null"),
        }
    }
}

impl Write for NumericDate {
    fn is_unset(&self) -> bool {
        false
    }

    fn write(&self, json: &mut Vec<u8>) {
        write_by_serde(self, json);
    }
}

impl Write for Vec<String> {
    fn is_unset(&self) -> bool {
        self.is_empty()
    }

    fn write(&self, json: &mut Vec<u8>) {
        write_by_serde(self, json);
    }
}

impl Write for BTreeMap<String, String> {
    fn is_unset(&self) -> bool {
        self.is_empty()
    }

    fn write(&self, json: &mut Vec<u8>) {
        let mut object = ObjectWriter::begin(json);
        for (name, value) in self {
            object.any_entry(name, value);
        }
        object.end();
    }
}

impl Write for RawJson {
    fn is_unset(&self) -> bool {
        false
    }

    fn write(&self, json: &mut Vec<u8>) {
        json.extend_from_slice(self.as_str().as_bytes());
    }
}
