import { createHmac, randomBytes } from 'node:crypto';
import { prepareBcrypt, verifyBcrypt } from './bcrypt.ts';

/**
 * HTTP Basic authentication (RFC 7617) with exporter-toolkit's `basic_auth_users`: bcrypt is slow on purpose, so answers are
 * remembered (as keyed digests, never as passwords), one password is checked at a time, and few may wait.
 */
export type Verdict = 'ok' | 'denied' | 'busy';

const remembered = 100;
const mostWaiting = 20;
// Checked in place of an unknown user's hash, so that the time tells nobody which users there are.
const nobody = '$2y$10$abcdefghijklmnopqrstuuAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';

export class BasicAuth {
  readonly #users: ReadonlyMap<string, string>;
  readonly #secret = randomBytes(32);
  readonly #known = new Map<string, boolean>();
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(users: Readonly<Record<string, string>>) {
    this.#users = new Map(Object.entries(users));
    if (this.#users.size > 0) prepareBcrypt();
  }

  /** Judges an Authorization header. */
  async judge(header: string | undefined): Promise<Verdict> {
    if (this.#users.size === 0) return 'ok';
    const credentials = parseBasic(header);
    if (!credentials) return 'denied';
    const { user, password } = credentials;
    const digest = createHmac('sha256', this.#secret).update(`${user}\0${password}`).digest('base64');
    const known = this.#known.get(digest);
    if (known !== undefined) return known ? 'ok' : 'denied';
    if (this.#waiting >= mostWaiting) return 'busy';
    this.#waiting++;
    const check = this.#last.then(() => this.#check(user, password, digest));
    this.#last = check;
    try {
      return (await check) ? 'ok' : 'denied';
    } finally {
      this.#waiting--;
    }
  }

  async #check(user: string, password: string, digest: string): Promise<boolean> {
    const hash = this.#users.get(user);
    const ok = (await verifyBcrypt(password, hash ?? nobody)) && hash !== undefined;
    if (this.#known.size >= remembered) {
      // Wrong guesses leave first, so that a guesser cannot make right passwords expensive.
      const wrong = [...this.#known].find(([, right]) => !right);
      this.#known.delete(wrong?.[0] ?? this.#known.keys().next().value!);
    }
    this.#known.set(digest, ok);
    return ok;
  }
}

function parseBasic(header: string | undefined): { user: string; password: string } | undefined {
  const m = /^Basic +([A-Za-z0-9+/=]+)$/i.exec(header ?? '');
  if (!m) return undefined;
  const text = Buffer.from(m[1]!, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : { user: text.slice(0, colon), password: text.slice(colon + 1) };
}
