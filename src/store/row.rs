//! How the words of `call` are spelled in columns.

use std::str::FromStr;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error as WordError;

use super::error::StoreError;
use crate::call::{CallId, CallRecord, EventKind, Layer, Timestamp};

/// A [`CallId`] as its 16 bytes, whose order is the order of creation.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallKey(pub(super) CallId);

impl ToSql for CallKey {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.as_u128().to_be_bytes().to_vec()))
    }
}

impl FromSql for CallKey {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = u128::from_be_bytes(<[u8; 16]>::column_result(value)?);
        let text = format!("call_{}", ulid::Ulid(number));
        CallId::from_str(&text).map(Self).map_err(FromSqlError::other)
    }
}

/// A [`Timestamp`] as milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ms(pub(super) Timestamp);

impl ToSql for Ms {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.unix_ms()))
    }
}

impl FromSql for Ms {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(Self(Timestamp::from_unix_ms(value.as_i64()?)))
    }
}

/// A value that serde writes as one word.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word<T>(pub(super) T);

impl<T: for<'de> Deserialize<'de>> FromSql for Word<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let word: serde::de::value::StrDeserializer<'_, WordError> = value.as_str()?.into_deserializer();
        T::deserialize(word).map(Self).map_err(FromSqlError::other)
    }
}

impl ToSql for Word<EventKind> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.as_str()))
    }
}

impl ToSql for Word<Layer> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(match self.0 {
            Layer::Signalling => "signalling",
            Layer::Media => "media",
            Layer::Engine => "engine",
            Layer::Event => "event",
            Layer::Control => "control",
        }))
    }
}

/// The whole record of a call from its `json` column.
pub(super) fn call_record(json: &str, id: CallKey) -> Result<CallRecord, StoreError> {
    serde_json::from_str(json)
        .map_err(|error| StoreError::Unreadable { what: id.0.to_string(), problem: error.to_string() })
}
