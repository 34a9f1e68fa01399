//! `NumericDate`, the time of a JWT.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::{self, Deserializer, Visitor};
use serde::{Serialize, Serializer};

use crate::fill::{Fill, Rigor, unless_null};

/// Seconds since the Unix epoch (RFC 7519, section 2), whole ones.
///
/// It is read as livekit-server reads it: a fraction is cut off, a string of digits counts as a number, and a value
/// beyond a signed 64-bit integer is the earliest time there is, so that an `exp` of `u64::MAX` is long past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NumericDate(i64);

impl NumericDate {
    /// A time by its seconds since the Unix epoch.
    #[must_use]
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds since the Unix epoch.
    #[must_use]
    pub const fn as_secs(self) -> i64 {
        self.0
    }

    /// The same as a [`SystemTime`], or `None` where it lies outside of what that can hold.
    #[must_use]
    pub fn to_system_time(self) -> Option<SystemTime> {
        let distance = Duration::from_secs(self.0.unsigned_abs());
        if self.0 < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
    }

    /// The whole second in which `time` lies.
    #[must_use]
    pub fn from_system_time(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(i64::try_from(after.as_secs()).unwrap_or(i64::MAX)),
            Err(error) => {
                let before = error.duration();
                let seconds = before.as_secs() + u64::from(before.subsec_nanos() > 0);
                Self(i64::try_from(seconds).map_or(i64::MIN, |seconds| -seconds))
            }
        }
    }

    fn from_float(seconds: f64) -> Self {
        // Go converts a float that does not fit to the smallest integer; Rust would saturate.
        if seconds >= -(2f64.powi(63)) && seconds < 2f64.powi(63) {
            Self(seconds.floor() as i64)
        } else {
            Self(i64::MIN)
        }
    }
}

impl From<SystemTime> for NumericDate {
    fn from(time: SystemTime) -> Self {
        Self::from_system_time(time)
    }
}

impl Serialize for NumericDate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

impl Fill for NumericDate {
    fn fill<'de, D: Deserializer<'de>>(&mut self, value: D, _: Rigor) -> Result<(), D::Error> {
        struct Date<'a>(&'a mut NumericDate);

        impl Visitor<'_> for Date<'_> {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of seconds")
            }

            fn visit_u64<E>(self, v: u64) -> Result<(), E> {
                // Through a float, as encoding/json does: above 2^53 the two differ.
                *self.0 = NumericDate::from_float(v as f64);
                Ok(())
            }

            fn visit_i64<E>(self, v: i64) -> Result<(), E> {
                *self.0 = NumericDate::from_float(v as f64);
                Ok(())
            }

            fn visit_f64<E>(self, v: f64) -> Result<(), E> {
                *self.0 = NumericDate::from_float(v);
                Ok(())
            }

            fn visit_str<E: de::Error>(self, v: &str) -> Result<(), E> {
                let is_number = v.starts_with(|c: char| c == '-' || c.is_ascii_digit())
                    && v.ends_with(|c: char| c.is_ascii_digit())
                    && serde_json::from_str::<serde_json::Number>(v).is_ok();
                match v.parse() {
                    Ok(seconds) if is_number => {
                        *self.0 = NumericDate::from_float(seconds);
                        Ok(())
                    }
                    _ => Err(E::custom("not the digits of a number")),
                }
            }
        }

        unless_null(value, Date(self), || ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<i64> {
        let mut date = NumericDate::default();
        date.fill(&mut serde_json::Deserializer::from_str(json), Rigor::SERVER).ok()?;
        Some(date.as_secs())
    }

    #[test]
    fn numbers_and_strings_of_digits_are_read_as_livekit_server_reads_them() {
        for (json, seconds) in [
            ("1800000000", 1_800_000_000),
            ("1800000000.75", 1_800_000_000),
            ("1.8e9", 1_800_000_000),
            ("\"1800000000\"", 1_800_000_000),
            ("-0.5", -1),
            ("0", 0),
            ("1000000000000000000", 1_000_000_000_000_000_000),
            ("10000000000000000000", i64::MIN),
            ("18446744073709551615", i64::MIN),
            ("1e300", i64::MIN),
        ] {
            assert_eq!(read(json), Some(seconds), "{json}");
        }
    }

    #[test]
    fn anything_else_is_no_number() {
        for json in ["\"tomorrow\"", "\"\"", "\" 1\"", "\"1 \"", "\"+1\"", "\"0x1\"", "\"inf\"", "true", "{}", "[1]"] {
            assert_eq!(read(json), None, "{json}");
        }
    }

    #[test]
    fn conversion_to_and_from_system_time_never_panics() {
        let later = NumericDate::from_system_time(UNIX_EPOCH + Duration::from_millis(1_500));
        assert_eq!(later, NumericDate::from_secs(1));
        let earlier = NumericDate::from_system_time(UNIX_EPOCH - Duration::from_millis(1_500));
        assert_eq!(earlier, NumericDate::from_secs(-2));
        assert_eq!(NumericDate::from_secs(-2).to_system_time(), Some(UNIX_EPOCH - Duration::from_secs(2)));
        let _ = NumericDate::from_secs(i64::MIN).to_system_time();
        let _ = NumericDate::from_secs(i64::MAX).to_system_time();
    }
}
