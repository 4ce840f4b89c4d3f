//! The same-origin layer as middleware of actix-web.

use std::{
    future::{Ready, ready},
    pin::Pin,
};

use actix_web::{
    body::{EitherBody, MessageBody},
    dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
};

use super::{header_of, of_http};
use crate::http::same_origin::SameOriginLayer;

impl<S, B> Transform<S, ServiceRequest> for SameOriginLayer
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = actix_web::Error;
    type Transform = SameOriginMiddleware<S>;
    type InitError = ();
    type Future = Ready<Result<SameOriginMiddleware<S>, ()>>;

    fn new_transform(&self, inner: S) -> Self::Future {
        ready(Ok(SameOriginMiddleware { layer: self.clone(), inner }))
    }
}

/// The middleware that [`SameOriginLayer`] puts around an app of actix-web, by `App::wrap`.
#[derive(Debug)]
pub struct SameOriginMiddleware<S> {
    layer: SameOriginLayer,
    inner: S,
}

impl<S, B> Service<ServiceRequest> for SameOriginMiddleware<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, actix_web::Error>>>>;

    forward_ready!(inner);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let checked = self.layer.check(request.method().as_str(), header_of(&request));
        match checked {
            Ok(()) => {
                let handler = self.inner.call(request);
                Box::pin(async { Ok(handler.await?.map_into_left_body()) })
            }
            Err(error) => {
                let response = of_http(self.layer.answer(&error));
                Box::pin(ready(Ok(request.into_response(response).map_into_right_body())))
            }
        }
    }
}
