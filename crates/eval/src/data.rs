//! Rows out of a file's bytes: lines of JSON, JSON, CSV, each also in gzip, told apart by how they begin.

use std::io::Read;

use serde_json::{Map, Value};

use crate::Error;
use crate::row::Row;

/// Largest file, unpacked, in bytes.
const DATA_BYTES_MAX: u64 = 2 << 30;

/// The rows of a file.
///
/// JSON is an array of objects, objects one after the other, or one object that holds an array of them. A CSV
/// file without a line of names is hendrycks/test's: a question, four choices, the letter.
///
/// Errors: it is none of those, or too large.
pub fn rows(bytes: &[u8]) -> Result<Vec<Row>, Error> {
    let text = text(bytes)?;
    let rows = match text.trim_start().chars().next() {
        Some('{' | '[') => json_rows(&text)?,
        Some(_) => csv_rows(&text)?,
        None => Vec::new(),
    };
    if rows.is_empty() {
        return Err(Error::Unreadable("there is no row in the file".to_owned()));
    }
    Ok(rows)
}

fn text(bytes: &[u8]) -> Result<String, Error> {
    let mut unpacked = Vec::new();
    let unreadable = |error: std::io::Error| Error::Unreadable(format!("the gzip stream is broken: {error}"));
    let bytes = match bytes {
        [0x1f, 0x8b, ..] => {
            let mut decoder = flate2::read::MultiGzDecoder::new(bytes).take(DATA_BYTES_MAX + 1);
            decoder.read_to_end(&mut unpacked).map_err(unreadable)?;
            &unpacked
        }
        [b'P', b'K', 3, 4, ..] => {
            return Err(Error::Unreadable(
                "it is a zip archive: unpack it, and give the file in it".to_owned(),
            ));
        }
        [b'P', b'A', b'R', b'1', ..] => {
            return Err(Error::Unreadable("it is a Parquet file: write it as JSON lines".to_owned()));
        }
        _ => bytes,
    };
    if bytes.len() as u64 > DATA_BYTES_MAX {
        return Err(Error::Unreadable(format!("it is larger than {} GiB", DATA_BYTES_MAX >> 30)));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    String::from_utf8(bytes.to_vec())
        .map_err(|error| Error::Unreadable(format!("byte {} is not UTF-8", error.utf8_error().valid_up_to())))
}

fn json_rows(text: &str) -> Result<Vec<Row>, Error> {
    let mut values = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        values.push(value.map_err(|error| Error::Unreadable(format!("the JSON is broken: {error}")))?);
    }
    if let [Value::Array(inner)] = &mut values[..] {
        values = std::mem::take(inner);
    } else if let [Value::Object(object)] = &mut values[..] {
        let is_table =
            |value: &Value| matches!(value, Value::Array(rows) if rows.iter().any(Value::is_object));
        let tables = ["data", "rows", "examples", "items", "results", "test"];
        let name = tables.into_iter().find(|name| object.get(*name).is_some_and(is_table));
        if let Some(Value::Array(rows)) = name.and_then(|name| object.remove(name)) {
            values = rows;
        }
    }
    let to_row = |(index, value): (usize, Value)| match value {
        Value::Object(mut row) => match (row.remove("row"), row.contains_key("row_idx")) {
            // As the viewer of a hub gives them.
            (Some(Value::Object(inner)), true) => Ok(inner),
            (Some(other), _) => {
                row.insert("row".to_owned(), other);
                Ok(row)
            }
            (None, _) => Ok(row),
        },
        _ => Err(Error::Row { row: index + 1, message: "it is not an object".to_owned() }),
    };
    values.into_iter().enumerate().map(to_row).collect()
}

fn csv_rows(text: &str) -> Result<Vec<Row>, Error> {
    let first = text.lines().next().unwrap_or_default();
    let delimiter = if first.contains('\t') && !first.contains(',') { b'\t' } else { b',' };
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .from_reader(text.as_bytes());
    let mut records = Vec::new();
    for record in reader.records() {
        records.push(record.map_err(|error| Error::Unreadable(format!("the CSV is broken: {error}")))?);
    }
    let is_headless = records.first().is_some_and(|first| {
        first.len() == 6 && first.get(5).is_some_and(|letter| matches!(letter.trim(), "A" | "B" | "C" | "D"))
    });
    let names: Vec<String> = if is_headless {
        ["Question", "A", "B", "C", "D", "Answer"].map(str::to_owned).to_vec()
    } else if records.is_empty() {
        Vec::new()
    } else {
        records.remove(0).iter().map(|name| name.trim().to_owned()).collect()
    };
    let to_row = |record: &csv::StringRecord| {
        let cells = names.iter().zip(record.iter());
        cells.map(|(name, cell)| (name.clone(), Value::from(cell))).collect::<Map<_, _>>()
    };
    Ok(records.iter().map(to_row).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn check(bytes: &[u8], expected: &str) {
        let rows = rows(bytes).map(|rows| serde_json::to_string(&rows).expect("rows are JSON"));
        assert_eq!(
            rows.unwrap_or_else(|error| error.to_string()),
            expected,
            "{}",
            String::from_utf8_lossy(bytes)
        );
    }

    #[test]
    fn files_are_told_apart_by_how_they_begin() {
        check(b"{\"a\":1}\n\n{\"a\":2}\n", r#"[{"a":1},{"a":2}]"#);
        check(b"[{\"a\":1}]", r#"[{"a":1}]"#);
        check(b"{\"version\":1,\"data\":[{\"a\":1}]}", r#"[{"a":1}]"#);
        check(b"{\"rows\":[{\"row_idx\":0,\"row\":{\"a\":1}}]}", r#"[{"a":1}]"#);
        check(b"\xef\xbb\xbfid,text\n7,\"a, b\"\n", r#"[{"id":"7","text":"a, b"}]"#);
        check(b"id\ttext\n7\ta\n", r#"[{"id":"7","text":"a"}]"#);
        check(
            b"\"Is it?\nReally?\",a,b,c,d,B\n",
            r#"[{"Question":"Is it?\nReally?","A":"a","B":"b","C":"c","D":"d","Answer":"B"}]"#,
        );
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"{\"a\":1}").expect("into memory");
        check(&packed.finish().expect("into memory"), r#"[{"a":1}]"#);
    }

    #[test]
    fn what_is_wrong_is_said() {
        check(b"", "there is no row in the file");
        check(b"[1]", "row 1: it is not an object");
        check(b"PK\x03\x04", "it is a zip archive: unpack it, and give the file in it");
        check(b"a,b\n\xff\n", "byte 4 is not UTF-8");
        check(b"\x1f\x8bx", "the gzip stream is broken: unexpected end of file");
        check(b"{\"a\":", "the JSON is broken: EOF while parsing a value at line 1 column 5");
    }
}
