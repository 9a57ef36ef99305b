include { outputOf } from './shell'

// The container images that a table of costs names: [name, processes, digest or null, where the digest is from].
def imageRecords(table) {
    def lines = table.readLines().collect { line -> line.tokenize('\t') }
    def used = lines.drop(1).collect { cells -> [cells[lines[0].indexOf('container')], cells[0].tokenize(':').last()] }
    return used
        .findAll { image, _process -> image != '-' }
        .groupBy { image, _process -> image }
        .sort()
        .collect { image, uses -> imageRecord(image) + [name: image, processes: uses.collect { use -> use[1] }.unique().sort()] }
}

def imageRecord(image) {
    if (image.contains('@sha256:')) {
        return [digest: image.tokenize('@').last(), basis: 'its name']
    }
    if (image.startsWith('/')) {
        def bytes = file(image, glob: false).exists() ? file(image, glob: false).size() : null
        return [digest: null, basis: bytes ? "an image file of ${bytes} bytes".toString() : 'an image file']
    }
    return inspected(image) ?: [digest: null, basis: 'named by tag, not by digest']
}

// What the engine of this machine knows of an image: the registry's digest or, if it was built here, its ID.
def inspected(image) {
    def engine = workflow.containerEngine
    if (!(engine in ['docker', 'podman'])) {
        return null
    }
    def known = outputOf([engine, 'image', 'inspect', '--format', '{{.Id}} {{.RepoDigests}}', image])
    def digest = known =~ /([^\s\[]+)@(sha256:[0-9a-f]{64})/
    def id = known =~ /^(?:sha256:)?([0-9a-f]{64})/
    if (digest.find()) {
        def isLocal = digest.group(1).startsWith('localhost/')
        return [digest: digest.group(2), basis: "${engine} on the head node${isLocal ? ', where it was built; it is in no registry' : ', from the registry'}".toString()]
    }
    return id.find() ? [digest: "sha256:${id.group(1)}".toString(), basis: "the image ID of ${engine} on the head node; it is in no registry".toString()] : null
}
