import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isBcryptHash, verifyBcrypt } from './bcrypt.ts';
import { get, metricsBatch, startExporter } from './testing.ts';

// Made by libxcrypt's crypt(3) (`python3 -c 'import crypt; …'`);
// the salts of `abc` and of `U*U` are those of well-known published vectors, and give their hashes.
const vectors: readonly [password: string, hash: string][] = [
  ['', '$2b$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy'],
  ['a', '$2a$06$If6bvum7DFjUnE9p2uDeDu.m4uEZLaslwTsRhZXe5jrLAZXV0vCle'],
  ['abc', '$2y$04$abcdefghijklmnopqrstuuCi15uRb1eH7NAlJ/TgeJertyknQpYn2'],
  ['abcdefghijklmnopqrstuvwxyz', '$2a$08$HqWuK6/Ng6sg9gQzbLrgb.OCVbfxxiEslz9UO4Hs7OecSMmAImzf.'],
  ['~!@#$%^&*()      ~!@#$%^&*()PNBFRD', '$2b$05$CCCCCCCCCCCCCCCCCCCCC.STBzsZ8xCWHNw6/YKrFpX4VkG/NCALW'],
  ['pä$$wörd 🔒', '$2a$06$If6bvum7DFjUnE9p2uDeDunpfgES9uR6D4xco8mDvkyz09vsVxoze'],
  [
    'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',
    '$2y$04$abcdefghijklmnopqrstuu.gc7UY/21CSNJGJg21jJzx9QiOpJ9bO',
  ],
  [
    'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',
    '$2a$08$HqWuK6/Ng6sg9gQzbLrgb.BPpQwLMKMWYyC3BQIZ20xWptVYl/jw2',
  ],
  [
    'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxtail ignored',
    '$2b$05$CCCCCCCCCCCCCCCCCCCCC.D7RDOYXakZhsFmh/LdqQNx0kQ424AFS',
  ],
  ['U*U*', '$2a$06$If6bvum7DFjUnE9p2uDeDun70uVIzTnjz5xYCbt/4mN/m/HiKDINu'],
  ['abc', '$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i'],
];

describe('bcrypt', () => {
  for (const [password, hash] of vectors) {
    it(`accepts ${JSON.stringify(password.slice(0, 20))} for ${hash.slice(0, 29)}, and nothing near it`, async () => {
      assert.equal(isBcryptHash(hash), true);
      assert.equal(await verifyBcrypt(password, hash), true);
      assert.equal(await verifyBcrypt(`z${password}`, hash), false);
      const last = hash.at(-1) === 'a' ? 'e' : 'a';
      // Four bits of the last character are unused: change the one before.
      const near = `${hash.slice(0, -2)}${last}${hash.at(-1)}`;
      if (near !== hash) assert.equal(await verifyBcrypt(password, near), false);
    });
  }

  it('refuses what is no bcrypt hash', async () => {
    for (const text of [
      '',
      'secret',
      '$2y$10$short',
      '$1$abc$def',
      '$2y$03$abcdefghijklmnopqrstuuAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA',
    ]) {
      assert.equal(isBcryptHash(text), false);
      assert.equal(await verifyBcrypt('secret', text), false);
    }
  });
});

describe('basic auth', () => {
  const header = (user: string, password: string) => ({
    authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
  });

  it('lets in who knows a password, and counts who does not', async (t) => {
    const [password, hash] = vectors.find(([p]) => p === 'abc')!;
    const { exporter, context } = await startExporter(t, { basic_auth_users: { prom: hash } });
    await exporter.push(metricsBatch('x', []));
    const status = async (headers: Record<string, string>) => (await get(exporter, { headers })).status;
    assert.equal(await status({}), 401);
    assert.equal((await get(exporter)).headers['www-authenticate'], 'Basic realm="skoopline"');
    assert.equal(await status(header('prom', 'wrong')), 401);
    assert.equal(await status(header('nobody', password)), 401);
    assert.equal(await status({ authorization: 'Bearer abc' }), 401);
    assert.equal(await status({ authorization: 'Basic !!!' }), 401);
    assert.equal(await status(header('prom', password)), 200);
    assert.equal(await status(header('prom', password)), 200, 'remembered');
    assert.equal(await status(header('prom', 'wrong')), 401, 'remembered');
    assert.equal(context.telemetry.count('requests_refused', { reason: 'unauthorized' }), 7);
  });

  it('guards the index page too, and lets few guesses wait', async (t) => {
    const [, hash] = vectors.find(([p]) => p === 'abc')!;
    const { exporter } = await startExporter(t, { basic_auth_users: { prom: hash.replace(/\$0\d\$/, '$$08$$') } });
    assert.equal((await get(exporter, { path: '/' })).status, 401);
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, i) => get(exporter, { headers: header('prom', `guess ${i}`) })),
    );
    const busy = answers.filter((a) => a.status === 503).length;
    assert.ok(busy > 0, 'some were turned away unchecked');
    assert.equal(answers.filter((a) => a.status === 401).length, 60 - busy);
  });
});
