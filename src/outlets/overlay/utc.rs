//! UNIX nanoseconds as a civil UTC time, for people and for file names.

use std::fmt;

/// A UTC instant to the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UtcTime {
    pub year: i64,
    pub month: u32,
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
    pub milli: u32,
}

impl UtcTime {
    /// `unix_nanos`: nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
    pub fn from_unix_nanos(unix_nanos: i64) -> UtcTime {
        let millis = unix_nanos.div_euclid(1_000_000);
        let (days, of_day) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000) as u32);
        // Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days: years begin in March.
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        UtcTime {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month: month as u32,
            day: (day_of_year - (153 * from_march + 2) / 5 + 1) as u32,
            hour: of_day / 3_600_000,
            minute: of_day / 60_000 % 60,
            second: of_day / 1000 % 60,
            milli: of_day % 1000,
        }
    }

    /// `2026-11-22`
    pub fn date(&self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    /// `20261122T141530Z`
    pub fn compact(&self) -> String {
        let UtcTime { year, month, day, .. } = self;
        format!(
            "{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z",
            self.hour, self.minute, self.second
        )
    }
}

impl fmt::Display for UtcTime {
    /// `2026-11-22 14:15:30.123 UTC`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UtcTime {
            hour,
            minute,
            second,
            milli,
            ..
        } = self;
        write!(f, "{} {hour:02}:{minute:02}:{second:02}.{milli:03} UTC", self.date())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants() {
        // `date -u -d @N`
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00.250 UTC"),
            (951_782_400, "2000-02-29 00:00:00.250 UTC"),
            (1_700_000_000, "2023-11-14 22:13:20.250 UTC"),
            (1_798_761_599, "2026-12-31 23:59:59.250 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00.250 UTC"),
            (-1, "1969-12-31 23:59:59.250 UTC"),
        ] {
            let utc = UtcTime::from_unix_nanos(seconds * 1_000_000_000 + 250_999_999);
            assert_eq!(utc.to_string(), text);
        }
        assert_eq!(
            UtcTime::from_unix_nanos(1_700_000_000_000_000_000).compact(),
            "20231114T221320Z"
        );
    }
}
