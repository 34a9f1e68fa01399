//! proto3 JSON as livekit-server reads it: protobuf-go's `protojson` with unknown fields and enum values discarded.
//!
//! Keys match exactly, in either of a field's two names, and no field may stand twice; numbers may be strings; `null`
//! is unset.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeSeq, Serializer};
use serde_json::value::RawValue;

use crate::fill::Rigor;
use crate::payload::{Write, write_by_serde};
use crate::raw_json::RawJson;

/// Which of a field's two names is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// `emptyTimeout`, as tokens have it.
    Camel,
    /// `empty_timeout`, as token endpoints have it.
    Snake,
}

/// A value of a protobuf message, in JSON.
pub(crate) trait ProtoJson: Sized {
    fn read<'de, D: Deserializer<'de>>(value: D, rigor: Rigor) -> Result<Self, D::Error>;
    fn write<S: Serializer>(&self, case: Case, serializer: S) -> Result<S::Ok, S::Error>;
}

/// Serializes a value with its names in one case.
pub(crate) struct Cased<'a, T>(pub(crate) &'a T, pub(crate) Case);

impl<T: ProtoJson> Serialize for Cased<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write(self.1, serializer)
    }
}

impl<T: ProtoJson> Write for Cased<'_, T> {
    fn is_unset(&self) -> bool {
        false
    }

    fn write(&self, json: &mut Vec<u8>) {
        write_by_serde(self, json);
    }
}

struct Seed<T>(Rigor, PhantomData<T>);

impl<'de, T: ProtoJson> DeserializeSeed<'de> for Seed<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<T, D::Error> {
        T::read(value, self.0)
    }
}

/// The value of a field: `None` for `null`.
struct FieldSeed<T>(Rigor, PhantomData<T>);

impl<'de, T: ProtoJson> DeserializeSeed<'de> for FieldSeed<T> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Option<T>, D::Error> {
        value.deserialize_option(self)
    }
}

impl<'de, T: ProtoJson> Visitor<'de> for FieldSeed<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or null")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<Self::Value, D::Error> {
        T::read(value, self.0).map(Some)
    }
}

/// Reads the value of one field of a message into `target`, which stays as it was for `null` and, leniently, for a
/// value that does not fit.
pub(crate) fn read_field<'de, T, A>(target: &mut T, map: &mut A, rigor: Rigor) -> Result<(), A::Error>
where
    T: ProtoJson,
    A: MapAccess<'de>,
{
    let value = if rigor.is_lenient {
        let raw: &RawValue = map.next_value()?;
        FieldSeed(rigor, PhantomData).deserialize(&mut serde_json::Deserializer::from_str(raw.get())).ok().flatten()
    } else {
        map.next_value_seed(FieldSeed(rigor, PhantomData))?
    };
    if let Some(value) = value {
        *target = value;
    }
    Ok(())
}

/// Skips the value of an unknown field, in which a lone surrogate is an error all the same.
pub(crate) fn skip_field<'de, A: MapAccess<'de>>(map: &mut A, rigor: Rigor) -> Result<(), A::Error> {
    if rigor.is_lenient {
        map.next_value::<IgnoredAny>()?;
    } else {
        let raw: RawJson = map.next_value()?;
        if raw.as_str().contains("\\u") && raw.parse::<serde_json::Value>().is_err() {
            return Err(de::Error::custom("invalid escape in a string"));
        }
    }
    Ok(())
}

/// Whether a value is the default of its type, so that it is not written.
pub(crate) fn is_unset<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Implements [`ProtoJson`], [`Fill`](crate::fill::Fill) and serde for a struct from a table of its fields and their
/// names, camelCase first, the snake_case one where it differs.
macro_rules! proto_message {
    (@snake $camel:literal) => { $camel };
    (@snake $camel:literal $snake:literal) => { $snake };
    ($message:ident { $($field:ident : $camel:literal $(| $snake:literal)?),+ $(,)? }) => {
        impl $crate::proto_json::ProtoJson for $message {
            fn read<'de, D: serde::Deserializer<'de>>(
                value: D,
                rigor: $crate::fill::Rigor,
            ) -> Result<Self, D::Error> {
                struct Message($crate::fill::Rigor);

                impl<'de> serde::de::Visitor<'de> for Message {
                    type Value = $message;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("a ", stringify!($message)))
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$message, A::Error> {
                        #[derive(Default)]
                        struct Seen { $($field: bool,)+ }

                        let mut message = $message::default();
                        let mut seen = Seen::default();
                        while let Some(key) = map.next_key_seed($crate::proto_json::Key)? {
                            match &*key {
                                $($camel $(| $snake)? => {
                                    if std::mem::replace(&mut seen.$field, true)
                                        && !self.0.is_lenient
                                    {
                                        return Err(serde::de::Error::duplicate_field($camel));
                                    }
                                    $crate::proto_json::read_field(&mut message.$field, &mut map, self.0)?;
                                })+
                                _ => $crate::proto_json::skip_field(&mut map, self.0)?,
                            }
                        }
                        Ok(message)
                    }
                }

                value.deserialize_map(Message(rigor))
            }

            fn write<S: serde::Serializer>(
                &self,
                case: $crate::proto_json::Case,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap as _;

                let mut map = serializer.serialize_map(None)?;
                $(if !$crate::proto_json::is_unset(&self.$field) {
                    let name = match case {
                        $crate::proto_json::Case::Camel => $camel,
                        $crate::proto_json::Case::Snake => $crate::proto_json::proto_message!(@snake $camel $($snake)?),
                    };
                    map.serialize_entry(name, &$crate::proto_json::Cased(&self.$field, case))?;
                })+
                map.end()
            }
        }

        /// A second message for one claim replaces the first, as it does in livekit-server.
        impl $crate::fill::Fill for $message {
            fn fill<'de, D: serde::Deserializer<'de>>(
                &mut self,
                value: D,
                rigor: $crate::fill::Rigor,
            ) -> Result<(), D::Error> {
                *self = $crate::proto_json::ProtoJson::read(value, rigor)?;
                Ok(())
            }
        }

        impl serde::Serialize for $message {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.write($crate::proto_json::Case::Snake, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $message {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::proto_json::ProtoJson::read(deserializer, $crate::fill::Rigor::SERVER)
            }
        }
    };
}
pub(crate) use proto_message;

/// Implements [`ProtoJson`] for an enum from a table of its numbers and names; the first value stands for unknown ones.
macro_rules! proto_enum {
    ($name:ident { $($variant:ident = $number:literal | $text:literal),+ $(,)? }) => {
        impl $crate::proto_json::ProtoJson for $name {
            fn read<'de, D: serde::Deserializer<'de>>(value: D, _: $crate::fill::Rigor) -> Result<Self, D::Error> {
                Ok(match $crate::proto_json::EnumValue::read(value)? {
                    $($crate::proto_json::EnumValue::Number($number) => Self::$variant,)+
                    $($crate::proto_json::EnumValue::Name(name) if name == $text => Self::$variant,)+
                    _ => Self::default(),
                })
            }

            fn write<S: serde::Serializer>(
                &self,
                _: $crate::proto_json::Case,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(match self {
                    $(Self::$variant => $text,)+
                })
            }
        }
    };
}
pub(crate) use proto_enum;

/// The name of a field, borrowed where it can be.
pub(crate) struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = std::borrow::Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Self::Value, D::Error> {
        value.deserialize_str(crate::fill::TextVisitor)
    }
}

/// An enum value on the wire.
pub(crate) enum EnumValue {
    Number(i32),
    Name(String),
}

impl EnumValue {
    pub(crate) fn read<'de, D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = EnumValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name or number of an enum value")
            }

            fn visit_i64<E: de::Error>(self, v: i64) -> Result<EnumValue, E> {
                i32::try_from(v).map(EnumValue::Number).map_err(|_| E::custom("enum number out of range"))
            }

            fn visit_u64<E: de::Error>(self, v: u64) -> Result<EnumValue, E> {
                i32::try_from(v).map(EnumValue::Number).map_err(|_| E::custom("enum number out of range"))
            }

            fn visit_f64<E: de::Error>(self, v: f64) -> Result<EnumValue, E> {
                if v.fract() == 0.0 && v >= f64::from(i32::MIN) && v <= f64::from(i32::MAX) {
                    Ok(EnumValue::Number(v as i32))
                } else {
                    Err(E::custom("not an enum number"))
                }
            }

            fn visit_str<E>(self, v: &str) -> Result<EnumValue, E> {
                Ok(EnumValue::Name(v.to_owned()))
            }
        }

        value.deserialize_any(Either)
    }
}

impl ProtoJson for String {
    fn read<'de, D: Deserializer<'de>>(value: D, _: Rigor) -> Result<Self, D::Error> {
        <Self as serde::Deserialize>::deserialize(value)
    }

    fn write<S: Serializer>(&self, _: Case, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl ProtoJson for bool {
    fn read<'de, D: Deserializer<'de>>(value: D, _: Rigor) -> Result<Self, D::Error> {
        <Self as serde::Deserialize>::deserialize(value)
    }

    fn write<S: Serializer>(&self, _: Case, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(*self)
    }
}

impl ProtoJson for u32 {
    fn read<'de, D: Deserializer<'de>>(value: D, _: Rigor) -> Result<Self, D::Error> {
        struct Uint32;

        impl Visitor<'_> for Uint32 {
            type Value = u32;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an unsigned 32-bit number")
            }

            fn visit_u64<E: de::Error>(self, v: u64) -> Result<u32, E> {
                u32::try_from(v).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(v), &self))
            }

            fn visit_i64<E: de::Error>(self, v: i64) -> Result<u32, E> {
                u32::try_from(v).map_err(|_| E::invalid_value(de::Unexpected::Signed(v), &self))
            }

            fn visit_f64<E: de::Error>(self, v: f64) -> Result<u32, E> {
                if v.fract() == 0.0 && v >= 0.0 && v <= f64::from(u32::MAX) {
                    Ok(v as u32)
                } else {
                    Err(E::invalid_value(de::Unexpected::Float(v), &self))
                }
            }

            fn visit_str<E: de::Error>(self, v: &str) -> Result<u32, E> {
                let refused = || E::custom("not the digits of an unsigned 32-bit number");
                if v.starts_with(|c: char| c.is_ascii_whitespace()) || v.ends_with(|c: char| c.is_ascii_whitespace()) {
                    return Err(refused());
                }
                let number: serde_json::Number = serde_json::from_str(v).map_err(|_| refused())?;
                match (number.as_u64(), number.as_f64()) {
                    (Some(integer), _) => self.visit_u64(integer),
                    (None, Some(float)) => self.visit_f64(float),
                    (None, None) => Err(refused()),
                }
            }
        }

        value.deserialize_any(Uint32)
    }

    fn write<S: Serializer>(&self, _: Case, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(*self)
    }
}

/// A message that is carried and not looked into; that it is an object is all that is checked.
impl ProtoJson for Option<RawJson> {
    fn read<'de, D: Deserializer<'de>>(value: D, _: Rigor) -> Result<Self, D::Error> {
        let raw = <RawJson as serde::Deserialize>::deserialize(value)?;
        if raw.as_str().starts_with('{') { Ok(Some(raw)) } else { Err(de::Error::custom("expected an object")) }
    }

    fn write<S: Serializer>(&self, _: Case, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize(serializer)
    }
}

impl<T: ProtoJson> ProtoJson for Vec<T> {
    fn read<'de, D: Deserializer<'de>>(value: D, rigor: Rigor) -> Result<Self, D::Error> {
        struct Repeated<T>(Rigor, PhantomData<T>);

        impl<'de, T: ProtoJson> Visitor<'de> for Repeated<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element_seed(Seed(self.0, PhantomData))? {
                    items.push(item);
                }
                Ok(items)
            }
        }

        value.deserialize_seq(Repeated(rigor, PhantomData))
    }

    fn write<S: Serializer>(&self, case: Case, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.len()))?;
        for item in self {
            seq.serialize_element(&Cased(item, case))?;
        }
        seq.end()
    }
}

impl ProtoJson for BTreeMap<String, String> {
    fn read<'de, D: Deserializer<'de>>(value: D, _: Rigor) -> Result<Self, D::Error> {
        struct Map;

        impl<'de> Visitor<'de> for Map {
            type Value = BTreeMap<String, String>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with strings as values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some((key, value)) = map.next_entry()? {
                    if entries.insert(key, value).is_some() {
                        return Err(de::Error::custom("duplicate map key"));
                    }
                }
                Ok(entries)
            }
        }

        value.deserialize_map(Map)
    }

    fn write<S: Serializer>(&self, _: Case, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize(serializer)
    }
}
