//! Lists of packets as CSV: which came, and when.
//!
//! ```text
//!   seq,send_ms,arrival_ms        a trace: no arrival, no packet
//!   0,0.0,41.53
//!   1,20.0,
//!
//!   seq,lost      or      lost      or nothing but the last column:    1
//!   0,1                   1                                            0
//! ```

/// Why a list cannot be used; lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TableError {
    #[error("holds no packets")]
    Empty,
    #[error("has neither a column `lost` nor one called `arrival_ms`")]
    Columns,
    #[error("is no trace: it needs the columns `send_ms` and `arrival_ms`")]
    NoTrace,
    #[error("line {line}: `{cell}` is not 0 or 1")]
    Flag { line: usize, cell: String },
    #[error("line {line}: `{cell}` is not a time in milliseconds")]
    Time { line: usize, cell: String },
    #[error("line {0} has too few columns")]
    Short(usize),
}

/// One packet of a trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sent {
    /// When it was sent, in milliseconds.
    pub(super) at_ms: f64,
    /// When it came, on a clock of the receiver; nothing where it never did.
    pub(super) came_ms: Option<f64>,
}

/// For each packet whether it is lost.
pub(super) fn losses(text: &str) -> Result<Vec<bool>, TableError> {
    let mut rows = rows(text).peekable();
    let (_, first) = rows.peek().ok_or(TableError::Empty)?;
    let column = |name: &str| first.iter().position(|cell| cell.eq_ignore_ascii_case(name));
    let headed = first.iter().any(|cell| cell.parse::<f64>().is_err() && !cell.is_empty());
    let (flag, arrival) = (column("lost"), column("arrival_ms"));
    if headed {
        if flag.is_none() && arrival.is_none() {
            return Err(TableError::Columns);
        }
        rows.next();
    }
    let lost = rows.map(|(line, cells)| {
        if let Some(arrival) = arrival.filter(|_| flag.is_none()) {
            return Ok(cells.get(arrival).is_none_or(|cell| cell.is_empty()));
        }
        let at = flag.unwrap_or(cells.len() - 1);
        match cells.get(at).copied().ok_or(TableError::Short(line))? {
            "0" => Ok(false),
            "1" => Ok(true),
            cell => Err(TableError::Flag { line, cell: cell.to_owned() }),
        }
    });
    let lost: Vec<bool> = lost.collect::<Result<_, _>>()?;
    if lost.is_empty() { Err(TableError::Empty) } else { Ok(lost) }
}

/// The packets of a trace, in the order in which they were sent.
pub(super) fn trace(text: &str) -> Result<Vec<Sent>, TableError> {
    let mut rows = rows(text);
    let (_, head) = rows.next().ok_or(TableError::Empty)?;
    let column = |name: &str| head.iter().position(|cell| cell.eq_ignore_ascii_case(name));
    let (Some(send), Some(arrival)) = (column("send_ms"), column("arrival_ms")) else {
        return Err(TableError::NoTrace);
    };
    let packets = rows.map(|(line, cells)| {
        let time = |cell: &str| {
            let time = cell.parse::<f64>().ok().filter(|time| time.is_finite() && time.abs() < 1e12);
            time.ok_or_else(|| TableError::Time { line, cell: cell.to_owned() })
        };
        let at_ms = time(cells.get(send).ok_or(TableError::Short(line))?)?;
        let came = cells.get(arrival).copied().filter(|cell| !cell.is_empty());
        Ok(Sent { at_ms, came_ms: came.map(time).transpose()? })
    });
    let packets: Vec<Sent> = packets.collect::<Result<_, _>>()?;
    if packets.is_empty() { Err(TableError::Empty) } else { Ok(packets) }
}

/// Lines that hold anything, with their numbers.
fn rows(text: &str) -> impl Iterator<Item = (usize, Vec<&str>)> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(number, line)| (number, line.split(',').map(str::trim).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_read_however_they_are_written() {
        let expected = Ok(vec![false, true, false]);

        assert_eq!(losses("0\n1\n0\n"), expected);
        assert_eq!(losses("lost\n0\n1\n0"), expected);
        assert_eq!(losses("seq,lost\r\n0,0\r\n1,1\r\n2,0\r\n"), expected);
        assert_eq!(losses("0,0\n1,1\n2,0\n"), expected);
        assert_eq!(losses("seq,send_ms,arrival_ms\n0,0.0,41.5\n1,20.0,\n2,40.0,81\n"), expected);
    }

    #[test]
    fn a_trace_has_the_times_of_its_packets() {
        let packets = trace("seq,send_ms,arrival_ms\n0,0.0,41.5\n1,20.0,\n").unwrap();

        let expected = [Sent { at_ms: 0.0, came_ms: Some(41.5) }, Sent { at_ms: 20.0, came_ms: None }];
        assert_eq!(packets, expected);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        assert_eq!(losses(""), Err(TableError::Empty));
        assert_eq!(losses("lost\n"), Err(TableError::Empty));
        assert_eq!(losses("a,b\n1,2\n"), Err(TableError::Columns));
        assert_eq!(losses("seq,lost\n0\n"), Err(TableError::Short(2)));
        assert_eq!(losses("0\n\n2\n"), Err(TableError::Flag { line: 3, cell: "2".to_owned() }));
        assert_eq!(trace("0\n1\n"), Err(TableError::NoTrace));
        let wrong = trace("seq,send_ms,arrival_ms\n0,0,NaN\n");
        assert_eq!(wrong, Err(TableError::Time { line: 2, cell: "NaN".to_owned() }));
    }
}
