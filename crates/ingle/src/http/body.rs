//! The body of a response that has been through the layer.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of the handler's response, or that of an error in its place.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        inner: Inner<B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = Projected]
    enum Inner<B> {
        Handler { #[pin] body: B },
        Error { text: Option<Bytes> },
    }
}

impl<B> ResponseBody<B> {
    pub(super) const fn handler(body: B) -> Self {
        Self { inner: Inner::Handler { body } }
    }

    pub(super) const fn error(text: Bytes) -> Self {
        Self { inner: Inner::Error { text: Some(text) } }
    }
}

impl<B: Default> Default for ResponseBody<B> {
    /// For layers around this one that answer in the handler's place.
    fn default() -> Self {
        Self::handler(B::default())
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body,
    B::Data: From<Bytes>,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().inner.project() {
            Projected::Handler { body } => body.poll_frame(context),
            Projected::Error { text } => {
                let text = text.take().filter(|text| !text.is_empty());
                Poll::Ready(text.map(|text| Ok(Frame::data(text.into()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Handler { body } => body.is_end_stream(),
            Inner::Error { text } => text.as_ref().is_none_or(Bytes::is_empty),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Handler { body } => body.size_hint(),
            Inner::Error { text } => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
        }
    }
}
