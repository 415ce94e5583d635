/** Takes names and addresses out of what is captured. The same input gives the same token everywhere, so that files still fit together. */
export class Redactor {
  readonly #tokens = new Map<string, string>();
  readonly #counts = new Map<string, number>();
  readonly rules: readonly string[] = [
    'IPv4 addresses other than 0.0.0.0 and 127.0.0.1: 192.0.2.N (text), C00002NN (ip_vs)',
    'pod UIDs: 00000000-0000-4000-8000-N',
    'container ids: N, 64 hexadecimal digits',
    'names of processes: process-N',
    'cgroup paths that name no container: /redacted',
    'targets of file descriptors that are paths: /redacted',
  ];

  /** Text of a file. Files of numbers only come out as they are, whatever bytes they hold. */
  content(path: string, content: Buffer): Buffer {
    let text = content.toString('latin1');
    text = this.#identities(text);
    if (path.endsWith('/cgroup')) text = text.replace(/:\/(?!.*(?:kubepods|docker|libpod)).+$/gm, ':/redacted');
    if (/\/(stat|comm)$/.test(path) && /\/\d+\//.test(path)) {
      text = text.replace(/\((.*)\)/s, (_, comm: string) => `(${this.#token('process', comm, (n) => `process-${n}`)})`);
    }
    if (path.endsWith('/net/ip_vs')) {
      text = text.replace(/\b[0-9A-F]{8}(?=:[0-9A-F]{4})/g, (a) =>
        this.#token('address', a, (n) => `C00002${hex(n, 2)}`),
      );
    } else {
      text = text.replace(/\b(?!0\.0\.0\.0|127\.0\.0\.1)\d{1,3}(?:\.\d{1,3}){3}\b/g, (a) =>
        this.#token('address', a, (n) => `192.0.2.${n}`),
      );
    }
    return Buffer.from(text, 'latin1');
  }

  path(path: string): string {
    return this.#identities(path);
  }

  /** Target of a symbolic link: kinds of descriptors and namespaces stay, paths go. */
  link(target: string): string {
    return target.startsWith('/') ? '/redacted' : target;
  }

  #identities(text: string): string {
    return text
      .replace(/[0-9a-f]{8}([-_])[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}/g, (uid, separator: string) =>
        this.#token('pod', uid.replaceAll('_', '-'), (n) => `00000000-0000-4000-8000-${hex(n, 12)}`).replaceAll(
          '-',
          separator,
        ),
      )
      .replace(/\b[0-9a-f]{64}\b/g, (id) => this.#token('container', id, (n) => hex(n, 64)));
  }

  #token(kind: string, value: string, make: (n: number) => string): string {
    const key = `${kind} ${value}`;
    let token = this.#tokens.get(key);
    if (token === undefined) {
      const n = (this.#counts.get(kind) ?? 0) + 1;
      this.#counts.set(kind, n);
      token = make(n);
      this.#tokens.set(key, token);
    }
    return token;
  }
}

const hex = (n: number, digits: number): string => n.toString(16).padStart(digits, '0');
