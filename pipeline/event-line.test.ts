import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type LogRecord, noResource, type Resource } from './batch.ts';
import type { Attributes } from './catalogue.ts';
import { escapeValue, eventJson, eventLine, isoTime, lineOwner } from './event-line.ts';

const pod: Resource = {
  attributes: { 'k8s.pod.name': 'storage-monitor-5775dfdc77-fj767', 'k8s.namespace.name': 'kube-system' },
};

function record(attributes: Attributes, resource = pod, eventName = 'skoop.tcp.reset'): LogRecord {
  return {
    timeUnixNs: 1_767_323_045_000_000_007n,
    observedTimeUnixNs: 1_767_323_045_100_000_000n,
    severityNumber: 13,
    eventName,
    body: 'A body.',
    attributes,
    owner: { netns: 1 },
    resource,
  };
}

const flow = {
  'network.transport': 'tcp',
  'source.address': '100.103.42.233',
  'source.port': 443,
  'destination.address': '10.1.17.188',
  'destination.port': 33488,
};

describe('event line', () => {
  it('is the line that operators know', () => {
    assert.equal(
      eventLine(record({ ...flow, 'kubeskoop.type': 'TCPRESET_NOSOCK' })),
      'type=TCPRESET_NOSOCK pod=storage-monitor-5775dfdc77-fj767 namespace=kube-system protocol=TCP saddr=100.103.42.233 sport=443 daddr=10.1.17.188 dport=33488',
    );
  });

  it('has the flow first, whatever the order of attributes, then the rest, and the stack last', () => {
    const line = eventLine(
      record(
        {
          'skoop.stack': ['skb_release_data+0xA3', '__kfree_skb+0xE'],
          'skoop.drop.reason': 'NO_SOCKET',
          'destination.port': 43018,
          'network.type': 'ipv4',
          'source.address': '10.1.17.172',
          'destination.address': '10.1.17.176',
          'kubeskoop.type': 'PACKETLOSS',
          'source.port': 6443,
          'network.transport': 'tcp',
        },
        noResource,
      ),
    );
    assert.equal(
      line,
      'type=PACKETLOSS pod=hostNetwork namespace=hostNetwork protocol=TCP saddr=10.1.17.172 sport=6443 daddr=10.1.17.176 dport=43018 reason=NO_SOCKET network.type=ipv4 stacktrace:skb_release_data+0xA3 __kfree_skb+0xE',
    );
  });

  it('takes a stack as one text, its frames parted by spaces, line feeds or semicolons', () => {
    for (const stack of ['a+0x1 b+0x2', 'a+0x1\nb+0x2\n', 'a+0x1;b+0x2']) {
      assert.match(eventLine(record({ 'skoop.stack': stack })), / stacktrace:a\+0x1 b\+0x2$/);
    }
  });

  it('goes by the event name where KubeSkoop has no type, and puts the time first when asked', () => {
    assert.match(eventLine(record({}), true), /^time=2026-01-02T03:04:05\.000000007Z type=skoop\.tcp\.reset pod=/);
  });

  it('leaves out what the event does not have', () => {
    assert.equal(
      eventLine(record({ 'destination.address': 'fe80::1' }, pod, 'x')),
      'type=x pod=storage-monitor-5775dfdc77-fj767 namespace=kube-system daddr=fe80::1',
    );
  });

  it('keeps the whole name of a second attribute with the same short name', () => {
    const line = eventLine(record({ 'skoop.drop.reason': 'A', 'skoop.reset.reason': 'B' }));
    assert.match(line, / reason=A skoop\.reset\.reason=B$/);
  });

  it('names what is no pod by the best name it has', () => {
    const owner = (attributes: Attributes) => Object.values(lineOwner({ attributes })).join('/');
    assert.equal(owner({ 'container.name': 'web', 'container.id': 'abc' }), 'web/-');
    assert.equal(owner({ 'container.id': 'abc', 'skoop.netns.inode': 5 }), 'abc/-');
    assert.equal(owner({ 'skoop.netns.inode': 4026532001 }), 'netns-4026532001/-');
    assert.equal(owner({ 'k8s.node.name': 'n', 'os.type': 'linux' }), 'hostNetwork/hostNetwork');
  });

  it('is always one line of fields without spaces, whatever the values', () => {
    fc.assert(
      fc.property(
        fc.dictionary(
          fc.string({ unit: 'binary', minLength: 1 }).filter((k) => k !== 'skoop.stack'),
          fc.oneof(fc.string({ unit: 'binary' }), fc.integer(), fc.boolean(), fc.array(fc.string())),
        ),
        fc.string({ unit: 'binary' }),
        (attributes, name) => {
          const line = eventLine(record(attributes as Attributes, { attributes: { 'k8s.pod.name': name } }));
          assert.doesNotMatch(line, /[\n\r\t\u2028\u2029]/);
          const fields = line.split(/\s/);
          assert.ok(
            fields.every((f) => /^[^=\s]*=/.test(f)),
            line,
          );
          const given = Object.keys(attributes).filter((k) => k !== 'kubeskoop.type').length;
          assert.equal(fields.length, 3 + given);
        },
      ),
    );
  });

  it('escapes so that the value can be had back', () => {
    assert.equal(escapeValue('a b\tc\\d\u2028'), 'a\\x20b\\x09c\\x5cd\\u2028');
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (value) => {
        const back = escapeValue(value).replace(/\\x(..)|\\u(....)/g, (_, x, u) =>
          String.fromCharCode(Number.parseInt(x ?? u, 16)),
        );
        assert.equal(back, value);
      }),
    );
  });
});

describe('event as JSON', () => {
  it('has the line’s names and everything the record holds', () => {
    assert.deepEqual(JSON.parse(eventJson(record({ ...flow, 'kubeskoop.type': 'TCPRESET_NOSOCK' }))), {
      time: '2026-01-02T03:04:05.000000007Z',
      type: 'TCPRESET_NOSOCK',
      pod: 'storage-monitor-5775dfdc77-fj767',
      namespace: 'kube-system',
      event: 'skoop.tcp.reset',
      severity: 'WARN',
      body: 'A body.',
      attributes: { ...flow, 'kubeskoop.type': 'TCPRESET_NOSOCK' },
      resource: pod.attributes,
    });
  });

  it('has times to the nanosecond', () => {
    assert.equal(isoTime(0n), '1970-01-01T00:00:00.000000000Z');
    assert.equal(isoTime(1_767_323_045_999_999_999n), '2026-01-02T03:04:05.999999999Z');
  });
});
