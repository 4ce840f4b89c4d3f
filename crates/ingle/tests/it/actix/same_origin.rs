//! The same-origin layer as middleware: the same table as through tower.

use std::{cell::Cell, rc::Rc};

use actix_web::http::Method;

use super::*;
use crate::same_origin::{HOST, SAFE, UNSAFE, same_origin, table};

#[tokio::test]
async fn exactly_the_cells_of_the_guide_s_table_pass() {
    let runs = Rc::new(Cell::new(0));
    let count = Rc::clone(&runs);
    let handler = move || {
        count.set(count.get() + 1);
        std::future::ready("done")
    };
    let app = served!(App::new().default_service(web::to(handler)).wrap(same_origin()));
    for cell in table() {
        let headers =
            [("host", Some(HOST)), ("sec-fetch-site", cell.site), ("origin", cell.origin)];
        let requests = SAFE
            .map(|method| (method, None, true))
            .into_iter()
            .chain(UNSAFE.map(|method| (method, None, cell.passes)))
            .chain([("GET", Some("websocket"), cell.passes)]);
        for (method, upgrade, passes) in requests {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let request = TestRequest::default().method(method.clone());
            let headers = headers.into_iter().chain([("upgrade", upgrade)]);
            let request = headers
                .filter_map(|(name, value)| Some((name, value?)))
                .fold(request, |request, header| request.insert_header(header));
            let before = runs.get();
            let answer = (app.0)(request).await;
            let expected = if passes { StatusCode::OK } else { StatusCode::FORBIDDEN };
            assert_eq!(answer.status, expected, "{method} {upgrade:?} {cell:?}");
            assert_eq!(runs.get() - before, usize::from(passes), "{method} {upgrade:?} {cell:?}");
        }
    }
}

#[tokio::test]
async fn a_refusal_is_a_short_text_or_the_app_s_own_answer() {
    let ask = || TestRequest::post().insert_header(("sec-fetch-site", "cross-site"));
    let plain = served!(App::new().wrap(same_origin()));
    let answer = (plain.0)(ask()).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(answer.body, "This came from another site. Please try again on this one.\n");

    let own = same_origin().on_error(|error| {
        let mut response = ::http::Response::new(format!("{{\"told\":\"{error:?}\"}}").into());
        *response.status_mut() = ::http::StatusCode::IM_A_TEAPOT;
        response
    });
    let own = served!(App::new().wrap(own));
    let answer = (own.0)(ask()).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (418, "{\"told\":\"CrossOrigin\"}"));
}
