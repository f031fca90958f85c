//! The way from the API to the calls: one bounded queue of orders, each answered once.

use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::call::{Answer, Command};

/// Orders that may wait at once; further ones are refused.
const WAITING: usize = 256;

/// How long an answer is waited for. It comes when the order is on disk, so this is about a failing disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// An order and where its answer goes. The sender may be gone by then: nobody waits any more.
pub type Order = (Command, oneshot::Sender<Answer>);

/// The API's end of the queue.
#[derive(Debug, Clone)]
pub struct Commands {
    sender: mpsc::Sender<Order>,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// The queue is full; nothing was done.
    #[error("too many commands are waiting")]
    Full,
    /// The calls' owner has ended; nothing was done.
    #[error("the edge has stopped")]
    Stopped,
    /// It may still be carried out.
    #[error("no answer came in time")]
    Late,
}

impl Commands {
    /// A queue, and the end of it where orders come out.
    pub fn queue() -> (Self, mpsc::Receiver<Order>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self { sender }, receiver)
    }

    /// Has an order carried out.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn command(&self, command: Command) -> Result<Answer, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.sender.try_send((command, reply)).map_err(|error| match error {
            TrySendError::Full(_) => Unanswered::Full,
            TrySendError::Closed(_) => Unanswered::Stopped,
        })?;
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Unanswered::Stopped),
            Err(_) => Err(Unanswered::Late),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;
    use crate::call::{CallId, CommandError};

    fn order() -> Command {
        let call: CallId = "call_00000000000000000000000001".parse().unwrap();
        Command::SendDtmf { tenant: "acme".into(), call, digits: "1".to_owned() }
    }

    #[tokio::test]
    async fn an_order_is_answered_by_whoever_takes_it() {
        let (commands, mut orders) = Commands::queue();
        let owner = tokio::spawn(async move {
            let (_, reply) = orders.recv().await.unwrap();
            reply.send(Answer::Refused(CommandError::Draining)).unwrap();
        });

        let answer = commands.command(order()).await.unwrap();

        assert!(matches!(answer, Answer::Refused(CommandError::Draining)));
        owner.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_a_late_answer_and_a_stopped_owner_are_told_apart() {
        let (commands, mut orders) = Commands::queue();

        let mut answers = join_all((0..=WAITING).map(|_| commands.command(order()))).await;
        let full = answers.pop().unwrap();
        orders.close();
        let stopped = commands.command(order()).await;

        assert!(matches!(full, Err(Unanswered::Full)));
        assert!(answers.iter().all(|answer| matches!(answer, Err(Unanswered::Late))));
        assert!(matches!(stopped, Err(Unanswered::Stopped)));
    }
}
