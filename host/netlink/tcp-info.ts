/**
 * `struct tcp_info` (include/uapi/linux/tcp.h), read in place. The struct has only ever grown at its end: a field beyond what the
 * running kernel sent reads as NaN, which is "absent", not zero.
 */
export class TcpInfo {
  #view: DataView = new DataView(new ArrayBuffer(0));
  #at = 0;
  #length = 0;

  load(view: DataView, start: number, end: number): void {
    this.#view = view;
    this.#at = start;
    this.#length = end - start;
  }

  #u8(offset: number): number {
    return offset < this.#length ? this.#view.getUint8(this.#at + offset) : Number.NaN;
  }
  #u32(offset: number): number {
    return offset + 4 <= this.#length ? this.#view.getUint32(this.#at + offset, true) : Number.NaN;
  }
  #u64(offset: number): number {
    if (offset + 8 > this.#length) return Number.NaN;
    const at = this.#at + offset;
    return this.#view.getUint32(at, true) + this.#view.getUint32(at + 4, true) * 0x1_0000_0000;
  }

  /** Congestion state: 0 open, 1 disorder, 2 CWR, 3 recovery, 4 loss. */
  get congestionState(): number {
    return this.#u8(1);
  }
  /** True when the last delivery-rate sample was limited by the application, not the network. */
  get appLimited(): boolean {
    return (this.#u8(7) & 1) === 1;
  }
  get rtoUs(): number {
    return this.#u32(8);
  }
  get sendMss(): number {
    return this.#u32(16);
  }
  /** Segments in flight; on a listener, connections waiting to be accepted. */
  get unacked(): number {
    return this.#u32(24);
  }
  get lost(): number {
    return this.#u32(32);
  }
  get lastDataSentMs(): number {
    return this.#u32(44);
  }
  get lastDataReceivedMs(): number {
    return this.#u32(52);
  }
  get lastAckReceivedMs(): number {
    return this.#u32(56);
  }
  /** Smoothed round-trip time. 0 until the first sample. */
  get rttUs(): number {
    return this.#u32(68);
  }
  get rttVarianceUs(): number {
    return this.#u32(72);
  }
  /** Congestion window, segments. */
  get congestionWindow(): number {
    return this.#u32(80);
  }
  /** Segments retransmitted in the connection's life. */
  get totalRetransmits(): number {
    return this.#u32(100);
  }
  get bytesAcked(): number {
    return this.#u64(120);
  }
  get bytesReceived(): number {
    return this.#u64(128);
  }
  get segmentsOut(): number {
    return this.#u32(136);
  }
  get notSentBytes(): number {
    return this.#u32(144);
  }
  get minRttUs(): number {
    return this.#u32(148);
  }
  /** Segments with data sent, retransmissions included (kernel 4.6). */
  get dataSegmentsOut(): number {
    return this.#u32(156);
  }
  /** Bytes per second of the last sample (4.9). 0: no sample yet. */
  get deliveryRate(): number {
    return this.#u64(160);
  }
  /** Time with unacknowledged data (4.9). */
  get busyUs(): number {
    return this.#u64(168);
  }
  /** Part of busy time that the peer's window held it up. */
  get receiveWindowLimitedUs(): number {
    return this.#u64(176);
  }
  /** Part of busy time that the send buffer held it up. */
  get sendBufferLimitedUs(): number {
    return this.#u64(184);
  }
  /** Bytes sent, retransmissions included (4.19). */
  get bytesSent(): number {
    return this.#u64(200);
  }
  get bytesRetransmitted(): number {
    return this.#u64(208);
  }
}
