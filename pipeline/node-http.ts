/**
 * node:http and nothing else. An ES import of it reads every export there is, and three of those (WebSocket, CloseEvent, MessageEvent) are getters
 * that load undici, HTTP/2 and the web streams: 9 MiB of resident memory for nothing.
 */
export const { Agent, createServer, request } = process.getBuiltinModule('node:http');
