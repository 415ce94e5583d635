export { errorOf, type HttpAnswer, parseRetryAfterMs, RefusedError } from './answer.ts';
export { checkHttpPush, checkUrl, type HttpPushConfig, httpPushFields } from './config.ts';
export { credentialPaths, requestHeaders, type TlsMaterial, tlsMaterial, WatchedFiles } from './credentials.ts';
export { createHttpPush, type HttpPush } from './transport.ts';
