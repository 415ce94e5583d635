import { z } from 'zod';
import { splitAddress } from '../../pipeline/config/service.ts';
import { bytes, duration } from '../../pipeline/fields.ts';

export const config = z.strictObject({
  endpoint: z
    .string()
    .regex(/^(?:\[[0-9a-fA-F:.]+\]|[^:[\]/]*):\d{1,5}$/, { error: 'expected an address such as localhost:9466' })
    .refine((text) => splitAddress(text).port <= 65_535, { error: 'the port must be at most 65535' })
    .default('localhost:9466')
    .describe('Where the page is served. There is no password on it: leave it on localhost, and forward the port.'),
  allowed_hosts: z
    .array(z.string())
    .default([])
    .describe(
      'Host names by which the page may be asked for, beside localhost and IP addresses; others are refused, so that no web site can read it through its own name.',
    ),
  interval: duration('1s').describe('Time between two updates of an open page.'),
  max_viewers: z
    .number()
    .int()
    .positive()
    .default(32)
    .describe('Open pages at once; further ones are told to come back later.'),
  history_bytes: bytes('2MiB').describe(
    'Bound of the collections that are kept, untouched, for the charts of the page that is opened next; 10 minutes at most.',
  ),
});

export type Config = z.output<typeof config>;
