import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The image of application containers: busybox with all of its applets, `/www/index.html` saying `hello`. */
export const busyboxImage = 'localhost/busybox:1';
/** The image of sandboxes. */
export const pauseImage = 'localhost/pause:1';

const cache = join(import.meta.dirname, '../../.cache/images');
const digest = (data: Buffer | string) => createHash('sha256').update(data).digest('hex');

/** Files in a reproducible tar, so that the same busybox gives the same image. */
function tar(directory: string, members: readonly string[]): Buffer {
  const flags = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '-C', directory, '-cf', '-'];
  return execFileSync('tar', [...flags, ...members], { maxBuffer: 64 << 20 });
}

function layer(work: string): Buffer {
  const root = join(work, 'root');
  for (const d of ['bin', 'etc', 'proc', 'sys', 'dev', 'tmp', 'www']) mkdirSync(join(root, d), { recursive: true });
  writeFileSync(join(root, 'bin/busybox'), readFileSync('/bin/busybox'), { mode: 0o755 });
  const applets = execFileSync('/bin/busybox', ['--list'], { encoding: 'utf8' }).trim().split('\n');
  for (const applet of applets) if (applet !== 'busybox') symlinkSync('busybox', join(root, 'bin', applet));
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/:/bin/sh\n');
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\n');
  writeFileSync(join(root, 'www/index.html'), 'hello\n');
  return tar(root, ['.']);
}

/** Writes an OCI image layout (image-spec 1.0) holding both images over one shared layer. */
function writeLayout(work: string, out: string): void {
  const layout = join(work, 'oci');
  mkdirSync(join(layout, 'blobs/sha256'), { recursive: true });
  const blob = (data: Buffer | string, mediaType: string) => {
    writeFileSync(join(layout, 'blobs/sha256', digest(data)), data);
    return { mediaType, digest: `sha256:${digest(data)}`, size: Buffer.byteLength(data) };
  };
  const oci = 'application/vnd.oci.image';
  const files = blob(layer(work), `${oci}.layer.v1.tar`);
  const manifest = (name: string, entrypoint: readonly string[]) => {
    const config = blob(
      JSON.stringify({
        architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
        os: 'linux',
        config: { Env: ['PATH=/bin'], Entrypoint: entrypoint },
        rootfs: { type: 'layers', diff_ids: [files.digest] },
      }),
      `${oci}.config.v1+json`,
    );
    const mediaType = `${oci}.manifest.v1+json`;
    const body = blob(JSON.stringify({ schemaVersion: 2, mediaType, config, layers: [files] }), mediaType);
    return { ...body, annotations: { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': '1' } };
  };
  const manifests = [
    manifest(pauseImage, ['/bin/busybox', 'sleep', '2147483647']),
    manifest(busyboxImage, ['/bin/sh']),
  ];
  writeFileSync(join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
  writeFileSync(join(layout, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  writeFileSync(out, tar(layout, ['oci-layout', 'index.json', 'blobs']));
}

/** Path of a tar with {@link busyboxImage} and {@link pauseImage}, made from this machine's static busybox once. */
export function imageTar(): string {
  const key = digest(readFileSync('/bin/busybox')).slice(0, 16);
  const path = join(cache, `busybox-${key}-1.tar`);
  if (existsSync(path)) return path;
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(join(tmpdir(), 'skl-image-'));
  try {
    const made = `${path}.${process.pid}`;
    writeLayout(work, made);
    // Several test processes may make it at once; the last one wins, with the same content.
    renameSync(made, path);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return path;
}
