//! What lists show and no stream tells.

use super::*;
use crate::domain::session::SessionRow;

/// Writes down what it is told.
#[derive(Clone, Default)]
struct Ears(Arc<Mutex<Vec<(SessionId, Unheard)>>>);

impl Listener for Ears {
    fn unheard(&self, _: StoreKey, session: &SessionId, what: Unheard) {
        self.0.lock().push((session.clone(), what));
    }
}

impl Ears {
    fn of(&self, number: usize) -> Vec<Unheard> {
        let heard = self.0.lock();
        heard.iter().filter(|(id, _)| *id == session(number)).map(|(_, what)| what.clone()).collect()
    }
}

#[tokio::test]
async fn what_no_stream_tells_is_told_once_and_never_what_was_there_before_or_what_a_stream_told() {
    let (lab, list, ears) = (Lab::new(), Arc::new(List::default()), Ears::default());
    (1..5).for_each(|number| list.put(&id(number), 1_000_000));
    let server = lab.server(list.serve().await, file(1), None);
    let sync = lab.start(QUICK).await;
    sync.tell(Box::new(ears.clone()));
    let row = |number: usize, updated_ms: u64| SessionRow {
        id: session(number),
        directory: "/a".into(),
        title: "".into(),
        project: "p".into(),
        parent: None,
        created_ms: updated_ms,
        updated_ms,
    };
    // One is made, one changes, one goes; and the same three with a stream that tells.
    list.put(&id(5), 2_000_000);
    list.put(&id(1), 2_000_000);
    list.remove(&id(2));
    list.put(&id(6), 2_000_000);
    lab.registry.sessions.row(server.store, &row(6, 2_000_000), 0);
    lab.registry.sessions.announce(server.store, &session(6));
    list.put(&id(3), 2_000_000);
    lab.registry.sessions.row(server.store, &row(3, 2_000_000), 0);
    list.remove(&id(4));
    lab.registry.delete(server.store, &session(4));
    eventually("all three", || [5, 1, 2].iter().all(|number| !ears.of(*number).is_empty())).await;
    let pages = list.pages.load(Ordering::SeqCst) + 10;
    // Whoever is told announces it.
    lab.registry.sessions.announce(server.store, &session(5));
    eventually("many more lists", || list.pages.load(Ordering::SeqCst) > pages).await;
    assert_eq!(ears.of(5), [Unheard::Made]);
    assert_eq!(ears.of(1), [Unheard::Changed { since_ms: 1_000_000 }]);
    assert!(matches!(&*ears.of(2), [Unheard::Gone(row)] if *row.title == *id(2)), "{:?}", ears.of(2));
    for number in [3, 4, 6] {
        assert_eq!(ears.of(number), [], "{number}");
    }
}

#[tokio::test]
async fn what_was_made_while_a_store_had_no_server_is_told_when_it_has_one_again() {
    let (lab, list, ears) = (Lab::new(), Arc::new(List::default()), Ears::default());
    list.put(&id(1), 1_000_000);
    let address = list.serve().await;
    let server = lab.server(address, file(1), None);
    let sync = lab.start(QUICK).await;
    sync.tell(Box::new(ears.clone()));
    lab.registry.depart(server.key);
    // Until nobody looks after the store any more.
    tokio::time::sleep(QUICK.tick * 10).await;
    list.put(&id(2), 2_000_000);
    lab.server(address, file(1), None);
    eventually("the session made meanwhile", || !ears.of(2).is_empty()).await;
    assert_eq!((ears.of(1), ears.of(2)), (vec![], vec![Unheard::Made]));
}

#[tokio::test]
async fn a_stream_that_tells_later_than_the_list_tells_alone() {
    let (lab, list, ears) = (Lab::new(), Arc::new(List::default()), Ears::default());
    let server = lab.server(list.serve().await, file(1), None);
    let sync = lab.start(Pace { heard_within: Duration::from_secs(2), ..QUICK }).await;
    sync.tell(Box::new(ears.clone()));
    list.put(&id(1), 1_000_000);
    eventually("the list's word", || lab.knows(1)).await;
    lab.registry.sessions.announce(server.store, &session(1));
    list.put(&id(2), 2_000_000);
    eventually("the session made behind it", || !ears.of(2).is_empty()).await;
    assert_eq!(ears.of(1), []);
}
