//! Bytes between two sockets, where it matters how they are cut.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
};

use super::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
const MARKS: Marks<'_> = Marks { server: b"127.0.0.1:1", route: "owner", closes: false };

/// Two ends of a connection that takes little at once.
async fn pair() -> (TcpStream, TcpStream) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(8 * 1024).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let near = listener.accept().await.unwrap().0;
    // As the real ones are; otherwise each small piece waits for the last to be acknowledged.
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    (near, far)
}

/// A client that has asked, with its far end, and a link with its server.
async fn both() -> ((Client, TcpStream), (TcpStream, TcpStream)) {
    let (ours, theirs) = pair().await;
    ((Client::new(ours, REQUEST.to_vec(), Duration::from_hours(1)), theirs), pair().await)
}

async fn head_of(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    head
}

#[tokio::test]
async fn a_link_is_used_again_only_if_nothing_came_behind_the_answer_whenever_it_came() {
    for (framing, body) in
        [("content-length: 2", "ok"), ("transfer-encoding: chunked", "2\r\nok\r\n0\r\n\r\n")]
    {
        for behind in ["", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nlie"] {
            let ((mut client, mut far), (mut link, mut server)) = both().await;
            let mut exchange = Exchange::new(&mut client, &mut link, REQUEST.len());
            exchange.ask(REQUEST).await.unwrap();
            assert_eq!(head_of(&mut server).await, REQUEST);
            server.write_all(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n").as_bytes()).await.unwrap();
            let head = exchange.hear(false, || MARKS, true).await.unwrap();
            head_of(&mut far).await;
            server.write_all(format!("{body}{behind}").as_bytes()).await.unwrap();
            assert_eq!(exchange.tell(head.body).await.unwrap(), behind.is_empty(), "{framing}");
            drop(client);
            let mut told = String::new();
            far.read_to_string(&mut told).await.unwrap();
            assert_eq!(told, body);
        }
    }
}

#[tokio::test]
async fn a_client_that_reads_slowly_is_told_every_byte_once() {
    let body: Vec<u8> = (0..40_000_u32).flat_map(u32::to_le_bytes).collect();
    for at_once in [true, false] {
        let ((mut client, mut far), (mut link, mut server)) = both().await;
        let sent = body.clone();
        let serving = tokio::spawn(async move {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", sent.len());
            server.write_all(&[head.as_bytes(), &sent].concat()).await.unwrap();
            server
        });
        let told = async {
            head_of(&mut far).await;
            let (mut told, mut room) = (Vec::new(), vec![0; 50_000]);
            while told.len() < body.len() {
                let read = far.read(&mut room).await.unwrap();
                told.extend_from_slice(&room[..read]);
                tokio::task::yield_now().await;
            }
            told
        };
        let mut exchange = Exchange::new(&mut client, &mut link, REQUEST.len());
        let telling = async {
            let head = exchange.hear(false, || MARKS, at_once).await.unwrap();
            assert!(exchange.tell(head.body).await.unwrap());
            assert!(exchange.out.capacity() <= 4 * ROOM, "no more is kept than reads bring");
        };
        let (told, ()) = tokio::join!(told, telling);
        assert!(told == body, "the same bytes in the same order");
        drop(serving.await.unwrap());
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_what_waits_for_the_server() {
    let ((mut client, far), (mut link, server)) = both().await;
    let mut exchange = Exchange::new(&mut client, &mut link, REQUEST.len());
    drop(far);
    assert!(matches!(exchange.hear(false, || MARKS, true).await, Err(Failure::Cut)));

    // Also while a request is being sent that the server does not read.
    let ((mut client, far), (mut link, _server)) = both().await;
    let mut exchange = Exchange::new(&mut client, &mut link, REQUEST.len());
    drop(far);
    assert!(matches!(exchange.ask(&vec![b'x'; 32 * 1024 * 1024]).await, Err(Failure::Cut)));
    drop(server);
}
