include { listed } from './files'
include { outputOf } from './shell'
include { findTrace } from './trace'

// The commit of the project's checkout, with '-dirty' appended when files were changed; null without one.
def gitRevision() {
    def command = ['git', '-C', projectDir.toString(), 'describe', '--always', '--dirty', '--abbrev=40', '--exclude', '*']
    def found = workflow.commitId ?: (file("${projectDir}/.git").exists() ? outputOf(command) : '')
    return found ?: null
}

// Writes the run as a Workflow Run RO-Crate, ro-crate-metadata.json among the results. `provenance` holds
// inputs, images and costs from COLLATE, `versions` those of the software. Both are empty when the run ended
// before; the crate then holds the rest. `sheets` are the sheetEntities from the start of the run: the files
// may have changed since.
def writeCrate(options, facts, sheets, provenance, versions) {
    def outdir = file(options.outdir)
    def trace = keepWithResults(options, outdir)
    def inputs = sheets + (provenance.inputs ?: []).collectMany { input -> safeEntities(input) }
    def results = resultFiles(outdir, provenance).collect { path -> resultEntity(outdir, path) }
    def values = options.findAll { _name, value -> value != null }.collect { name, value -> valueEntity("parameter-${name}", name, value) + [exampleOfWork: ['@id': "#formal-${name}".toString()]] }
    def settings = (facts + (provenance.facts ?: [:])).findAll { _name, value -> value != null }.collect { name, value -> valueEntity(name, name, value) }
    def software = softwareEntities(versions)
    def images = (provenance.images ?: []).collect { image -> imageEntity(image, facts.container_engine) }
    def usage = usageEntities(provenance.resources ?: [:])
    def action = actionEntity(provenance) + [
        object: links(inputs.findAll { input -> !input.inFolder } + values + settings),
        result: links(results),
        containerImage: links(images),
        resourceUsage: links(usage),
    ]
    def logs = trace ? [traceEntity(outdir, trace, action)] : []
    def scripts = listed(outdir.resolve('pipeline_info/subworkflows')).collect { path -> scriptEntity(outdir, path) }
    def entities = rootEntities(inputs + results + logs + scripts, action) + workflowEntities(values, software) + [action] + inputs + results + logs + scripts + values + settings + software + images + usage
    def graph = entities
        .collect { entity -> entity.findAll { name, content -> name != 'inFolder' && content != null && content != [] } }
        .unique { entity -> entity['@id'] }
    def context = ['https://w3id.org/ro/crate/1.1/context', 'https://w3id.org/ro/terms/workflow-run/context']
    def text = groovy.json.JsonOutput.toJson(['@context': context, '@graph': graph])
    outdir.resolve('ro-crate-metadata.json').text = groovy.json.JsonOutput.prettyPrint(text) + '\n'
}

// Copies the workflow's scripts to the results, and the table of tasks if it is elsewhere.
def keepWithResults(options, outdir) {
    def folder = outdir.resolve('pipeline_info')
    def trace = findTrace(options)
    folder.mkdirs()
    file("${projectDir}/main.nf").copyTo(folder.resolve('main.nf'))
    folder.resolve('subworkflows').mkdirs()
    listed(file("${projectDir}/subworkflows")).each { path -> path.copyTo(folder.resolve("subworkflows/${path.name}")) }
    if (trace && !folder.resolve(trace.name).exists()) {
        trace.copyTo(folder.resolve(trace.name))
    }
    return trace ? folder.resolve(trace.name) : null
}

def links(entities) {
    return entities.collect { entity -> link(entity['@id']) }
}

def link(id) {
    return ['@id': id.toString()]
}

// The absolute URI of a file.
def uri(path) {
    def text = path.toString()
    def place = text =~ '(?s)^([A-Za-z][A-Za-z0-9+.-]*)(://[^/]*)(.*)$'
    if (!place.find()) {
        return "file://${encoded(workflow.launchDir.resolve(text).normalize().toString())}".toString()
    }
    // Web addresses are encoded already, names of objects in a bucket are not.
    def rest = place.group(1) in ['http', 'https', 'ftp'] ? place.group(3).replace(' ', '%20') : encoded(place.group(3))
    return "${place.group(1)}${place.group(2)}${rest}".toString()
}

// A path with blanks and the like encoded.
def encoded(path) {
    def absolute = path.startsWith('/')
    def text = new URI('file', 'host', absolute ? path : "/${path}", null).rawPath
    return absolute ? text : text.substring(1)
}

def fileEntity(id, name, sum, more) {
    def formats = [html: 'text/html', json: 'application/json', csv: 'text/csv', tsv: 'text/tab-separated-values', txt: 'text/plain', png: 'image/png', h5: 'application/x-hdf5', h5ad: 'application/x-hdf5', gz: 'application/gzip']
    def format = formats[name.tokenize('.').last()] ?: 'application/octet-stream'
    return ['@id': id, '@type': 'File', name: name, encodingFormat: format, contentSize: sum.bytes?.toString(), sha256: sum.sha256] + more
}

// The samplesheet and the table of arms, if any, with their checksums now.
def sheetEntities(sheet, study) {
    def sheets = [[sheet, 'Samplesheet']] + (study ? [[file(study, glob: false), 'Arms of the study']] : [])
    return sheets.collect { path, what -> fileEntity(uri(path.toUriString()), path.name, sumOf(path), [description: what]) }
}

def scriptEntity(outdir, path) {
    return [
        '@id': encoded(outdir.relativize(path).toString()),
        '@type': ['File', 'SoftwareSourceCode'],
        name: path.name,
        programmingLanguage: link('https://w3id.org/workflowhub/workflow-ro-crate#nextflow'),
    ]
}

def sumOf(path) {
    try {
        def content = path.bytes
        return [bytes: content.size(), sha256: java.security.MessageDigest.getInstance('SHA-256').digest(content).encodeHex().toString()]
    }
    catch (IOException problem) {
        log.warn("No checksum of ${path}: ${problem}")
        return [:]
    }
}

// An input that cannot be described is left out; the record still has the others.
def safeEntities(input) {
    try {
        return inputEntities(input)
    }
    catch (Exception problem) {
        log.warn("The input ${input.path} is not in ro-crate-metadata.json: ${problem}")
        return []
    }
}

// A file, or a folder with its files, and the table of coordinates.
def inputEntities(input) {
    def id = uri(input.path)
    def name = input.path.tokenize('/').last()
    def what = [description: "${input.kind == 'reference' ? 'Reference' : 'Spatial'} data of ${input.used_by.join(', ')}".toString()]
    def coordinates = input.coordinates_files.collect { sum -> fileEntity(uri(input.coordinates), sum.name, sum, [description: 'Coordinates'] + [:]) }
    if (input.files.every { sum -> sum.name == name }) {
        return [fileEntity(id, name, input.files ? input.files[0] : [:], what)] + coordinates
    }
    def inside = input.files.collect { sum -> fileEntity("${id}/${encoded(sum.name)}".toString(), sum.name, sum, [inFolder: true]) }
    return [['@id': "${id}/".toString(), '@type': 'Dataset', name: name, hasPart: links(inside)] + what] + inside + coordinates
}

// Published files of the samples that finished in this run and of their references. The folder may also
// hold files of earlier runs: of other samples, or of one that failed this time.
def resultFiles(outdir, provenance) {
    def samples = (provenance.samples ?: []) - (provenance.failed ?: []).collect { sample -> sample.id }
    def folders = samples.collectMany { sample -> ["samples/${sample}", "evaluation/${sample}"] } + (provenance.references ?: []).collect { reference -> "references/${reference}" }
    def single = ['multiqc/multiqc_report.html', 'evaluation/headline.json', 'evaluation/scores.csv'] + samples.collect { sample -> "evaluation/maps/${sample}.png" }
    return single.collect { name -> outdir.resolve(name.toString()) }.findAll { path -> provenance.samples && path.exists() } + folders.collectMany { name -> filesBelow(outdir.resolve(name.toString())) }
}

def filesBelow(folder) {
    return folder.exists()
        ? listed(folder).collectMany { path -> path.isDirectory() ? filesBelow(path) : [path] }
        : []
}

def resultEntity(outdir, path) {
    return fileEntity(encoded(outdir.relativize(path).toString()), path.name, [bytes: path.size()], [:])
}

def traceEntity(outdir, trace, action) {
    def more = [encodingFormat: 'text/tab-separated-values', about: link(action['@id']), description: 'Table of tasks, by Nextflow']
    return fileEntity(encoded(outdir.relativize(trace).toString()), trace.name, [:], more)
}

def valueEntity(id, name, value) {
    return ['@id': "#${id}".toString(), '@type': 'PropertyValue', name: name.toString(), value: value instanceof Number || value instanceof Boolean ? value : value.toString()]
}

def softwareEntities(versions) {
    return versions
        .readLines()
        .collect { line -> line =~ /^  ([\w.-]+): '(.*)'$/ }
        .findAll { found -> found.find() && found.group(1) != 'stlatent' }
        .collect { found -> softwareEntity(found.group(1), found.group(2)) }
        .unique()
        .sort { entity -> entity['@id'] }
}

def softwareEntity(name, version) {
    def sites = [python: "https://www.python.org/downloads/release/python-${version.replace('.', '')}/", nextflow: "https://github.com/nextflow-io/nextflow/releases/tag/v${version}"]
    def identifier = (sites[name] ?: "pkg:pypi/${name}@${version}").toString()
    return ['@id': identifier, '@type': 'SoftwareApplication', name: name, url: sites[name]?.toString(), softwareVersion: version]
}

def imageEntity(image, engine) {
    def (registry, name, tag) = splitImage(image.name.tokenize('@')[0], engine)
    def isDocker = engine in ['docker', 'podman']
    return [
        '@id': "#image-${encoded(image.name)}".toString(),
        '@type': 'ContainerImage',
        additionalType: link("https://w3id.org/ro/terms/workflow-run#${isDocker ? 'DockerImage' : 'SIFImage'}"),
        registry: registry,
        name: name,
        tag: tag,
        sha256: image.digest ? image.digest - 'sha256:' : null,
        description: "${image.digest ? 'Digest from' : 'No digest:'} ${image.basis}; ran ${image.processes.join(', ')}".toString(),
    ]
}

// registry:5000/name:tag. An image of one word may be local, and a path is in no registry.
def splitImage(image, engine) {
    def last = image.tokenize('/').last()
    def tag = last.contains(':') ? last.tokenize(':').last() : null
    def name = tag ? image.take(image.size() - tag.size() - 1) : image
    def parts = name.tokenize('/')
    if (parts.size() < 2 || name.startsWith('/') || name.contains('://')) {
        return [null, name, tag]
    }
    def named = parts[0] == 'localhost' || parts[0].contains('.') || parts[0].contains(':')
    return named ? [parts[0], parts.drop(1).join('/'), tag] : [engine == 'docker' ? 'docker.io' : null, name, tag]
}

// The cost of the results, and this run's part of it.
def usageEntities(costs) {
    def stats = workflow.stats
    def totals = ['cpu_hours', 'cpu_hours_failed', 'gpu_hours', 'tasks'].findAll { name -> costs[name] != null }.collect { name -> usageEntity(name, name, name, costs[name]) }
    def processes = (costs.processes ?: []).collectMany { one ->
        ['tasks', 'cpu_hours', 'gpu_hours', 'peak_memory_gb'].findAll { name -> one[name] != null }.collect { name -> usageEntity("${one.process}-${name}", "${one.process} ${name}", name, one[name]) }
    }
    def paid = [
        this_run_tasks: stats.succeededCount,
        this_run_tasks_failed: stats.failedCount,
        this_run_tasks_reused: stats.cachedCount,
        this_run_cpu_hours: stats.succeedDuration.toMillis() / 3600000.0d,
        this_run_cpu_hours_failed: stats.failedDuration.toMillis() / 3600000.0d,
        this_run_cpu_hours_reused: stats.cachedDuration.toMillis() / 3600000.0d,
    ]
    return totals + processes + paid.collect { name, value -> usageEntity(name, name, name, value) }
}

def usageEntity(id, name, quantity, value) {
    def unit = quantity.contains('hours') ? 'HR' : quantity.contains('memory') ? 'GibiBYTE' : 'NUM'
    return valueEntity("usage-${id}", name, value) + [propertyID: "urn:stlatent:usage:${quantity}".toString(), unitCode: "https://qudt.org/vocab/unit/${unit}".toString()]
}

def moment(time) {
    return time.format(java.time.format.DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ssxxx"))
}

def actionEntity(provenance) {
    def failed = (provenance.failed ?: []).collect { sample -> "Sample ${sample.id} failed in ${sample.step}: ${sample.reason}" }
    return [
        '@id': "#${workflow.runName}".toString(),
        '@type': 'CreateAction',
        name: "Run ${workflow.runName} of stlatent".toString(),
        description: ([workflow.commandLine] + failed).join('\n'),
        startTime: moment(workflow.start),
        endTime: moment(workflow.complete ?: java.time.OffsetDateTime.now()),
        instrument: link('pipeline_info/main.nf'),
        actionStatus: "http://schema.org/${workflow.success ? 'Completed' : 'Failed'}ActionStatus".toString(),
        error: workflow.success ? null : (workflow.errorMessage ?: workflow.errorReport ?: 'not known'),
    ]
}

def rootEntities(parts, action) {
    def profiles = [
        ['@id': 'https://w3id.org/ro/wfrun/process/0.5', '@type': 'CreativeWork', name: 'Process Run Crate', version: '0.5'],
        ['@id': 'https://w3id.org/ro/wfrun/workflow/0.5', '@type': 'CreativeWork', name: 'Workflow Run Crate', version: '0.5'],
        ['@id': 'https://w3id.org/workflowhub/workflow-ro-crate/1.0', '@type': 'CreativeWork', name: 'Workflow RO-Crate', version: '1.0'],
    ]
    def descriptor = [
        '@id': 'ro-crate-metadata.json',
        '@type': 'CreativeWork',
        about: link('./'),
        conformsTo: [link('https://w3id.org/ro/crate/1.1'), link('https://w3id.org/workflowhub/workflow-ro-crate/1.0')],
    ]
    def root = [
        '@id': './',
        '@type': 'Dataset',
        name: action.name,
        description: workflow.manifest.description,
        datePublished: action.endTime,
        license: 'The data and results belong to whoever ran the workflow.',
        conformsTo: links(profiles),
        hasPart: [link('pipeline_info/main.nf')] + links(parts.findAll { part -> !part.inFolder }),
        mainEntity: link('pipeline_info/main.nf'),
        mentions: link(action['@id']),
    ]
    return [descriptor, root] + profiles
}

def workflowEntities(values, software) {
    def language = [
        '@id': 'https://w3id.org/workflowhub/workflow-ro-crate#nextflow',
        '@type': 'ComputerLanguage',
        name: 'Nextflow',
        identifier: link('https://www.nextflow.io/'),
        url: link('https://www.nextflow.io/'),
        version: workflow.nextflow.version.toString(),
    ]
    def main_file = [
        '@id': 'pipeline_info/main.nf',
        '@type': ['File', 'SoftwareSourceCode', 'ComputationalWorkflow'],
        name: workflow.manifest.name,
        description: workflow.manifest.description,
        version: workflow.manifest.version,
        encodingFormat: 'text/plain',
        license: link('https://spdx.org/licenses/MIT'),
        programmingLanguage: link(language['@id']),
        identifier: link('#code_fingerprint'),
        softwareRequirements: links(software),
        input: values.collect { value -> value.exampleOfWork },
    ]
    def formal = values.collect { value -> ['@id': value.exampleOfWork['@id'], '@type': 'FormalParameter', additionalType: typeOf(value.value), name: value.name] }
    return [main_file, language] + formal
}

def typeOf(value) {
    return value instanceof Boolean ? 'Boolean' : value instanceof Integer ? 'Integer' : value instanceof Number ? 'Float' : 'Text'
}
