//! Reading JSON in place the way Go's `encoding/json` does, because livekit-server reads claims with it.
//!
//! What that means, each measured on livekit-server 1.13.5: keys match in any case, of two equal keys the last counts,
//! two objects for one struct merge, `null` leaves a value unset, a lone surrogate is U+FFFD, unknown keys are skipped
//! at any depth.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// How a JSON text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rigor {
    /// A value of the wrong type counts as absent, and what stands beside it is still read. Otherwise it is an error, as it
    /// is for livekit-server.
    pub(crate) is_lenient: bool,
    /// A text may have an escape in it that is half of a surrogate pair. Reading with that in mind takes longer.
    may_have_surrogates: bool,
}

impl Rigor {
    /// As livekit-server reads this text.
    pub(crate) fn server(json: &str) -> Self {
        Self { is_lenient: false, may_have_surrogates: json.contains("\\u") }
    }

    /// The same, of any text.
    pub(crate) const SERVER: Self = Self { is_lenient: false, may_have_surrogates: true };

    /// The same, with values of the wrong type taken as absent.
    pub(crate) const fn lenient(self) -> Self {
        Self { is_lenient: true, ..self }
    }
}

/// A value that can be read over the one that is there.
pub(crate) trait Fill: Sized {
    fn fill<'de, D: Deserializer<'de>>(&mut self, value: D, rigor: Rigor) -> Result<(), D::Error>;
}

/// Reads the next value of an object or array into `target`.
pub(crate) struct Seed<'a, T>(pub(crate) &'a mut T, pub(crate) Rigor);

impl<'de, T: Fill> DeserializeSeed<'de> for Seed<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        self.0.fill(value, self.1)
    }
}

/// Reads the value of one key of an object. Leniently, a value that does not fit leaves `target` as it was.
pub(crate) fn fill_entry<'de, T, A>(target: &mut T, map: &mut A, rigor: Rigor) -> Result<(), A::Error>
where
    T: Fill + Default,
    A: MapAccess<'de>,
{
    if !rigor.is_lenient {
        return map.next_value_seed(Seed(target, rigor));
    }
    let raw: &RawValue = map.next_value()?;
    let mut value = T::default();
    if value.fill(&mut serde_json::Deserializer::from_str(raw.get()), rigor).is_ok() {
        *target = value;
    }
    Ok(())
}

/// Runs `some` unless the value is `null`, which runs `null` instead.
pub(crate) fn unless_null<'de, D, S, N>(value: D, some: S, null: N) -> Result<(), D::Error>
where
    D: Deserializer<'de>,
    S: Visitor<'de, Value = ()>,
    N: FnOnce(),
{
    struct Nullable<S, N>(S, N);

    impl<'de, S: Visitor<'de, Value = ()>, N: FnOnce()> Visitor<'de> for Nullable<S, N> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.expecting(f)
        }

        fn visit_none<E>(self) -> Result<(), E> {
            (self.1)();
            Ok(())
        }

        fn visit_unit<E>(self) -> Result<(), E> {
            (self.1)();
            Ok(())
        }

        fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
            value.deserialize_any(self.0)
        }
    }

    value.deserialize_option(Nullable(some, null))
}

impl Fill for bool {
    fn fill<'de, D: Deserializer<'de>>(&mut self, value: D, _: Rigor) -> Result<(), D::Error> {
        struct Bool<'a>(&'a mut bool);

        impl Visitor<'_> for Bool<'_> {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a boolean")
            }

            fn visit_bool<E>(self, v: bool) -> Result<(), E> {
                *self.0 = v;
                Ok(())
            }
        }

        unless_null(value, Bool(self), || ())
    }
}

impl Fill for String {
    fn fill<'de, D: Deserializer<'de>>(&mut self, value: D, rigor: Rigor) -> Result<(), D::Error> {
        struct Nullable<'a>(&'a mut String, Rigor);

        impl<'de> Visitor<'de> for Nullable<'_> {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_none<E>(self) -> Result<(), E> {
                Ok(())
            }

            fn visit_unit<E>(self) -> Result<(), E> {
                Ok(())
            }

            fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
                *self.0 = Text(self.1).deserialize(value)?.into_owned();
                Ok(())
            }
        }

        value.deserialize_option(Nullable(self, rigor))
    }
}

/// A pointer in Go: `null` unsets it, anything else is read over what it points to.
impl<T: Fill + Default> Fill for Option<T> {
    fn fill<'de, D: Deserializer<'de>>(&mut self, value: D, rigor: Rigor) -> Result<(), D::Error> {
        struct Pointer<'a, T>(&'a mut Option<T>, Rigor);

        impl<'de, T: Fill + Default> Visitor<'de> for Pointer<'_, T> {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value or null")
            }

            fn visit_none<E>(self) -> Result<(), E> {
                *self.0 = None;
                Ok(())
            }

            fn visit_unit<E>(self) -> Result<(), E> {
                *self.0 = None;
                Ok(())
            }

            fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
                let mut filled = self.0.take().unwrap_or_default();
                filled.fill(value, self.1)?;
                *self.0 = Some(filled);
                Ok(())
            }
        }

        value.deserialize_option(Pointer(self, rigor))
    }
}

impl Fill for Vec<String> {
    fn fill<'de, D: Deserializer<'de>>(&mut self, value: D, rigor: Rigor) -> Result<(), D::Error> {
        struct Strings<'a>(&'a mut Vec<String>, Rigor);

        impl<'de> Visitor<'de> for Strings<'_> {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of strings")
            }

            fn visit_none<E>(self) -> Result<(), E> {
                self.0.clear();
                Ok(())
            }

            fn visit_unit<E>(self) -> Result<(), E> {
                self.0.clear();
                Ok(())
            }

            fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
                value.deserialize_seq(self)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
                self.0.clear();
                loop {
                    let mut item = String::new();
                    if seq.next_element_seed(Seed(&mut item, self.1))?.is_none() {
                        return Ok(());
                    }
                    self.0.push(item);
                }
            }
        }

        value.deserialize_option(Strings(self, rigor))
    }
}

impl Fill for BTreeMap<String, String> {
    fn fill<'de, D: Deserializer<'de>>(&mut self, value: D, rigor: Rigor) -> Result<(), D::Error> {
        struct Map<'a>(&'a mut BTreeMap<String, String>, Rigor);

        impl<'de> Visitor<'de> for Map<'_> {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with strings as values")
            }

            fn visit_none<E>(self) -> Result<(), E> {
                self.0.clear();
                Ok(())
            }

            fn visit_unit<E>(self) -> Result<(), E> {
                self.0.clear();
                Ok(())
            }

            fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
                value.deserialize_map(self)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
                while let Some(key) = map.next_key_seed(Text(self.1))? {
                    let mut item = String::new();
                    fill_entry(&mut item, &mut map, self.1)?;
                    self.0.insert(key.into_owned(), item);
                }
                Ok(())
            }
        }

        value.deserialize_option(Map(self, rigor))
    }
}

/// A JSON string with every lone surrogate replaced, borrowed where it can be.
pub(crate) struct Text(pub(crate) Rigor);

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Self::Value, D::Error> {
        if self.0.may_have_surrogates {
            // As bytes: serde_json refuses a lone surrogate in a string, but hands it over as WTF-8 bytes.
            value.deserialize_bytes(TextVisitor)
        } else {
            value.deserialize_str(TextVisitor)
        }
    }
}

pub(crate) struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_bytes<E>(self, v: &'de [u8]) -> Result<Self::Value, E> {
        Ok(match std::str::from_utf8(v) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(replace_surrogates(v)),
        })
    }

    fn visit_bytes<E>(self, v: &[u8]) -> Result<Self::Value, E> {
        Ok(Cow::Owned(match std::str::from_utf8(v) {
            Ok(text) => text.to_owned(),
            Err(_) => replace_surrogates(v),
        }))
    }

    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(v))
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(v.to_owned()))
    }
}

/// WTF-8 with each encoded surrogate (ED A0..BF xx) turned into one U+FFFD.
///
/// The text around it is valid UTF-8: whoever calls the deserializer has replaced invalid bytes of the payload itself.
fn replace_surrogates(wtf8: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(wtf8.len());
    let mut rest = wtf8;
    while let Some(&first) = rest.first() {
        if first == 0xED && rest.len() >= 3 && rest[1] >= 0xA0 {
            bytes.extend_from_slice("\u{FFFD}".as_bytes());
            rest = &rest[3..];
        } else {
            bytes.push(first);
            rest = &rest[1..];
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The longest key of any struct we read; a longer one is unknown.
const LONGEST_KEY: usize = 24;

/// A key folded as `encoding/json` folds the names of fields: ASCII case, and the two other letters that fold to ASCII.
pub(crate) struct Folded {
    bytes: [u8; LONGEST_KEY],
    length: usize,
}

impl Folded {
    pub(crate) fn new(key: &str) -> Self {
        let mut folded = Self { bytes: [0; LONGEST_KEY], length: 0 };
        if key.is_ascii() {
            if let Some(bytes) = folded.bytes.get_mut(..key.len()) {
                bytes.copy_from_slice(key.as_bytes());
                folded.length = key.len();
                // All of it, used or not: a loop of a known length is a few instructions.
                folded.bytes.make_ascii_lowercase();
            }
            return folded;
        }
        for c in key.chars() {
            let byte = match c {
                '\u{17F}' => b's',
                '\u{212A}' => b'k',
                c if c.is_ascii() => (c as u8).to_ascii_lowercase(),
                _ => return Self::UNKNOWN,
            };
            let Some(place) = folded.bytes.get_mut(folded.length) else { return Self::UNKNOWN };
            *place = byte;
            folded.length += 1;
        }
        folded
    }

    /// The name of no field.
    const UNKNOWN: Self = Self { bytes: [0; LONGEST_KEY], length: 0 };

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Implements [`Fill`], `Serialize` and [`Write`](crate::payload::Write) for a struct from a table of its fields with
/// their JSON names, as they are written and in lower case. A field marked `lenient` is one that livekit-server does not
/// know, so that its value can't be a mistake.
macro_rules! json_object {
    (@rigor $rigor:expr,) => { $rigor };
    (@rigor $rigor:expr, lenient) => { $rigor.lenient() };
    ($object:ident { $($field:ident : $name:literal $folded:literal $($lenient:ident)?),+ $(,)? }) => {
        impl $crate::fill::Fill for $object {
            fn fill<'de, D: serde::Deserializer<'de>>(
                &mut self,
                value: D,
                rigor: $crate::fill::Rigor,
            ) -> Result<(), D::Error> {
                #[allow(non_camel_case_types, reason = "named as the fields are")]
                #[derive(Clone, Copy)]
                enum Field { $($field,)+ }

                struct Object<'a>(&'a mut $object, $crate::fill::Rigor);

                impl<'de> serde::de::Visitor<'de> for Object<'_> {
                    type Value = ();

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
                        while let Some(key) = map.next_key_seed($crate::fill::Text(self.1))? {
                            let field = match &*key {
                                $($name => Some(Field::$field),)+
                                other => match $crate::fill::Folded::new(other).as_bytes() {
                                    $($folded => Some(Field::$field),)+
                                    _ => None,
                                },
                            };
                            match field {
                                $(Some(Field::$field) => {
                                    let rigor = $crate::fill::json_object!(@rigor self.1, $($lenient)?);
                                    $crate::fill::fill_entry(&mut self.0.$field, &mut map, rigor)?;
                                })+
                                None => {
                                    map.next_value::<serde::de::IgnoredAny>()?;
                                }
                            }
                        }
                        Ok(())
                    }
                }

                $crate::fill::unless_null(value, Object(self, rigor), || ())
            }
        }

        impl serde::Serialize for $object {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap as _;

                let mut map = serializer.serialize_map(None)?;
                $(if !$crate::payload::Write::is_unset(&self.$field) {
                    map.serialize_entry($name, &self.$field)?;
                })+
                map.end()
            }
        }

        impl $crate::payload::Write for $object {
            /// Present is not the same as absent, however little it says.
            fn is_unset(&self) -> bool {
                false
            }

            fn write(&self, json: &mut Vec<u8>) {
                let mut object = $crate::payload::ObjectWriter::begin(json);
                $(object.entry($name, &self.$field);)+
                object.end();
            }
        }
    };
}
pub(crate) use json_object;
