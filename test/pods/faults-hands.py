# Hands in a pod's network namespace: runs what each line of standard input asks for and answers with a line.
# Sockets stay open between two lines, so that both ends of a fault are made step by step, with no pause to guess.
import base64, errno, json, os, select, socket, struct, sys, time

UDP, TCP = socket.SOCK_DGRAM, socket.SOCK_STREAM



def udp(to, port, n, size=1, source=None, options=()):
    """Sends n datagrams; returns how many the kernel took."""
    with socket.socket(socket.AF_INET, UDP) as s:
        for level, name, value in options:
            s.setsockopt(level, name, value)
        if source:
            s.bind((source, 0))
        sent = 0
        for _ in range(n):
            try:
                s.sendto(b'x' * size, (to, port))
                sent += 1
            except OSError:
                pass
        return sent


def listen(port, backlog=64):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('0.0.0.0', port))
    s.listen(backlog)
    return s


def connect(to, port, n, timeout=5):
    """Connects n times, one after the other; returns the names of the errors."""
    errors = []
    for _ in range(n):
        with socket.socket() as s:
            s.settimeout(timeout)
            try:
                s.connect((to, port))
            except OSError as e:
                errors.append(errno.errorcode.get(e.errno, str(e)))
    return errors


def opening(to, port, n):
    """Starts n connections without waiting for any."""
    out = []
    for _ in range(n):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex((to, port))
        out.append(s)
    return out


def received(s, n, seconds=20):
    """Waits until n bytes can be read, without reading them."""
    import fcntl, termios
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        here = struct.unpack('i', fcntl.ioctl(s, termios.FIONREAD, b'\0' * 4))[0]
        if here >= n:
            return here
        time.sleep(0.002)
    raise TimeoutError(f'{here} of {n} bytes came')


def checksum(data):
    if len(data) % 2:
        data += b'\0'
    s = sum(struct.unpack(f'!{len(data) // 2}H', data))
    while s >> 16:
        s = (s & 0xffff) + (s >> 16)
    return ~s & 0xffff


def l4(source, to, protocol, segment, at, wrong=0):
    """Puts the checksum of a TCP or UDP segment at its offset, off by `wrong`."""
    pseudo = socket.inet_aton(source) + socket.inet_aton(to) + struct.pack('!BBH', 0, protocol, len(segment))
    c = (checksum(pseudo + segment) + wrong) & 0xffff
    return segment[:at] + struct.pack('!H', c) + segment[at + 2 :]


def tcp_segment(source, to, sport, dport, flags, seq=1, ack=0, data=b'', wrong=0, window=64240):
    head = struct.pack('!HHIIBBHHH', sport, dport, seq, ack, 5 << 4, flags, window, 0, 0)
    return l4(source, to, 6, head + data, 16, wrong)


def ip_packet(source, to, protocol, payload, ident=7, flags=0, ttl=64, wrong=0):
    head = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + len(payload), ident, flags, ttl, protocol, 0,
                       socket.inet_aton(source), socket.inet_aton(to))
    c = (checksum(head) + wrong) & 0xffff
    return head[:10] + struct.pack('!H', c) + head[12:] + payload


def raw(to, packets):
    """Sends IP packets as they are (the kernel sets their checksum)."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as s:
        for p in packets:
            s.sendto(p, (to, 0))


def frames(packets, mac, device='eth0'):
    """Sends IP packets below IP, with nothing of them set or checked."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800)) as s:
        for p in packets:
            s.sendto(p, (device, 0x0800, 0, 0, bytes.fromhex(mac.replace(':', ''))))


def sniff(device='eth0'):
    """A socket that sees each IPv4 packet that arrives from now on."""
    s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    s.bind((device, 0x0800))
    s.settimeout(10)
    return s


def xdp_drop(port, device='eth0'):
    """Drops UDP to a port with a generic XDP program, until the socket returned is closed."""
    import ctypes
    def op(code, dst=0, src=0, off=0, imm=0):
        return struct.pack('<BBhi', code, src << 4 | dst, off, imm)
    be = socket.htons
    code = b''.join([
        op(0x61, 2, 1, 0), op(0x61, 3, 1, 4),  # r2 = data, r3 = data_end
        op(0xbf, 4, 2), op(0x07, 4, imm=42), op(0x2d, 4, 3, 8),  # too short: pass
        op(0x69, 5, 2, 12), op(0x55, 5, off=6, imm=be(0x0800)),
        op(0x71, 5, 2, 23), op(0x55, 5, off=4, imm=17),
        op(0x69, 5, 2, 36), op(0x55, 5, off=2, imm=be(port)),
        op(0xb7, 0, imm=1), op(0x95),  # XDP_DROP
        op(0xb7, 0, imm=2), op(0x95),  # XDP_PASS
    ])
    libc = ctypes.CDLL(None, use_errno=True)
    def bpf(command, attributes):
        buffer = ctypes.create_string_buffer(attributes.ljust(128, b'\0'), 128)
        fd = libc.syscall({'x86_64': 321, 'aarch64': 280}[os.uname().machine], command, buffer, 128)
        if fd < 0:
            raise OSError(ctypes.get_errno(), 'bpf')
        return fd
    instructions = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b'GPL')
    program = bpf(5, struct.pack('<IIQQ', 6, len(code) // 8, ctypes.addressof(instructions), ctypes.addressof(licence)))
    # BPF_LINK_CREATE: attach type BPF_XDP, flags XDP_FLAGS_SKB_MODE
    return [bpf(28, struct.pack('<IIII', program, socket.if_nametoindex(device), 37, 2)), program]


def take_posts(port, status):
    """Answers every POST to this port of 127.0.0.1 with that status, as a backend that takes all; returns the list that grows: path and body of each."""
    import gzip, http.server, threading
    taken = []
    class Taker(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers['Content-Length']))
            taken.append((self.path, gzip.decompress(body) if self.headers['Content-Encoding'] == 'gzip' else body))
            self.send_response(status)
            self.send_header('Content-Length', '0')
            self.end_headers()
        def log_message(self, *_):
            pass
    server = http.server.ThreadingHTTPServer(('127.0.0.1', port), Taker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return taken


def fill_conntrack(n):
    """Puts n assured connections into this namespace's table, which it then does not push out for new ones."""
    def attribute(kind, data):
        return struct.pack('<HH', len(data) + 4, kind) + data + b'\0' * (-len(data) % 4)
    def nested(kind, *parts):
        return attribute(kind | 0x8000, b''.join(parts))
    def flow(kind, source, to, sport, dport):
        return nested(kind, nested(1, attribute(1, source), attribute(2, to)),
                      nested(2, attribute(1, b'\x11'), attribute(2, struct.pack('!H', sport)), attribute(3, struct.pack('!H', dport))))
    tail = attribute(3, struct.pack('!I', 14)) + attribute(7, struct.pack('!I', 3600))  # seen reply, assured, confirmed
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
    batch, size = [], 0
    for i in range(n):
        a, b = struct.pack('!I', 0x0A000000 + (i >> 15)), b'\x0b\0\0\1'
        sport = 1024 + (i & 0x7fff)
        body = struct.pack('<BBH', socket.AF_INET, 0, 0) + flow(1, a, b, sport, 9) + flow(2, b, a, 9, sport) + tail
        # IPCTNL_MSG_CT_NEW, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL
        batch.append(struct.pack('<IHHII', len(body) + 16, 0x100, 0x601, i, 0) + body)
        if len(batch) == 512:
            netlink.send(b''.join(batch))
            batch = []
    netlink.send(b''.join(batch)) if batch else None
    netlink.close()


def race_in_conntrack(source, to, port, n):
    """Sends n pairs of equal SYNs of new connections, both of a pair held by NFQUEUE 1 until neither is in the table: the second finds no place."""
    def attribute(kind, data):
        return struct.pack('<HH', len(data) + 4, kind) + data + b'\0' * (-len(data) % 4)
    queue = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
    queue.settimeout(10)
    def tell(kind, body):
        # NFNL_SUBSYS_QUEUE; nfgenmsg with the number of the queue
        queue.send(struct.pack('<IHHIIBBH', len(body) + 20, 0x300 | kind, 1, 0, 0, 0, 0, socket.htons(1)) + body)
    tell(2, attribute(1, struct.pack('!BBH', 1, 0, 0)))  # NFQNL_MSG_CONFIG: bind
    tell(2, attribute(2, struct.pack('!IB', 0, 1)))  # NFQNL_COPY_META
    raw(to, [ip_packet(source, to, 6, tcp_segment(source, to, 1024 + i // 2, port, 2)) for i in range(2 * n)])
    held = []
    while len(held) < 2 * n:
        message, at = queue.recv(65536), 20
        while at + 4 <= len(message):
            size, kind = struct.unpack_from('<HH', message, at)
            if kind & 0x7fff == 1:  # NFQA_PACKET_HDR
                held.append(message[at + 4 : at + 8])
            at += size + 3 & ~3
    for packet in held:
        tell(1, attribute(2, struct.pack('!I', 1) + packet))  # NFQNL_MSG_VERDICT: NF_ACCEPT
    queue.close()


def main():
    space = globals()
    for line in sys.stdin:
        try:
            space['out'] = None
            exec(compile(base64.b64decode(line).decode(), 'fault', 'exec'), space)
            answer = {'out': space['out']}
        except Exception as e:
            answer = {'error': f'{type(e).__name__}: {e}'}
        print(json.dumps(answer), flush=True)


print('ready', flush=True)
main()
