include { checkParameters ; parameterHelp } from './functions/parameters'
include { close } from './functions/closing'
include { fingerprint } from './functions/code'
include { gitRevision ; sheetEntity ; writeCrate } from './functions/crate'
include { containerEngine } from './functions/engine'
include { listed } from './functions/files'
include { imageRecords } from './functions/images'
include { comparisons } from './functions/methods'
include { checkPlatform ; deviceFact ; tellDevice } from './functions/platform'
include { inputSources } from './functions/sheet'
include { costTable ; findTrace ; readTrace } from './functions/trace'
include { PARSE_SHEET } from './modules/parse_sheet/main'
include { DESCRIBE_INPUT } from './modules/describe_input/main'
include { CHECK_INPUT } from './modules/check_input/main'
include { CHECK_DEVICE } from './modules/check_device/main'
include { INGEST } from './modules/ingest/main'
include { QUALITY_CONTROL } from './modules/quality_control/main'
include { QUALITY_CONTROL as QUALITY_CONTROL_REFERENCE } from './modules/quality_control/main'
include { SELECT_GENES } from './modules/select_genes/main'
include { TRAIN_VAE } from './modules/train_vae/main'
include { SPLIT_GENES } from './modules/split_genes/main'
include { ALIGN } from './modules/align/main'
include { IMPUTE } from './modules/impute/main'
include { COMPARE } from './modules/compare/main'
include { SCORE } from './modules/score/main'
include { EVALUATE } from './modules/evaluate/main'
include { CALIBRATE } from './modules/calibrate/main'
include { COLLATE } from './modules/collate/main'
include { MULTIQC } from './modules/multiqc/main'

def readJson(json) {
    return new groovy.json.JsonSlurper().parse(json)
}

// The checked samplesheet, or the end of the run with everything that is wrong with it.
def readInput(json, problems) {
    def input = readJson(json)
    if (!input.valid) {
        error(problems.text.trim())
    }
    return input
}

def sourcesJson(inputs) {
    return groovy.json.JsonOutput.toJson(
        inputs.collect { id, kind, _data, _coordinates, exists, lines -> [id: id, kind: kind, lines: lines, exists: exists] }
    )
}

// Where the distinct inputs are, for the record of the run.
def sourcePaths(inputs) {
    return inputs.collect { id, kind, data, coordinates, _exists, _lines -> [id: id, kind: kind, path: data.toUriString(), coordinates: coordinates ? coordinates.toUriString() : null] }
}

def defaultArm(options) {
    return [
        name: 'default',
        genes: [n_hvg: options.n_hvg],
        vae: [
            n_latent: options.n_latent,
            max_epochs: options.vae_max_epochs,
            kl_warmup_epochs: options.vae_kl_warmup_epochs,
            batch_size: options.vae_batch_size,
        ],
        alignment: [
            method: options.alignment,
            n_genes: options.n_alignment_genes,
            n_neighbors: options.n_neighbors,
            pretrain_epochs: options.alignment_pretrain_epochs,
            discriminator_epochs: options.alignment_discriminator_epochs,
            epochs: options.alignment_epochs,
            inner_folds: options.inner_folds,
        ],
        imputer: options.imputer,
    ]
}

def failureText(failure) {
    return failure.method ? "${failure.method} on ${failure.kind} ${failure.id}, fold ${failure.fold}, failed: ${failure.reason}" : "${failure.kind} ${failure.id} failed in ${failure.step}: ${failure.reason}"
}

// What a step asks of an arm is all that its tasks know of it: another imputer repeats no alignment.
def splitOf(meta) {
    return [id: meta.id, reference: meta.reference, genes: meta.arm.genes, n_genes: meta.arm.alignment.n_genes]
}

def withoutImputer(arm) {
    return arm.findAll { name, _value -> name != 'imputer' }
}

def foldName(fold) {
    return fold.baseName - 'fold_'
}

// IMPUTE's files are in folders named by their folds.
def fullAndHeldOut(files) {
    def sorted = files.sort { h5ad -> h5ad.parent.name }
    return [sorted.find { h5ad -> h5ad.parent.name == 'all' }, sorted.findAll { h5ad -> h5ad.parent.name != 'all' }]
}

def thresholds(options, kind) {
    return [
        min_counts: options["${kind}_min_counts"],
        min_genes: options["${kind}_min_genes"],
        min_cells: options["${kind}_min_cells"],
        max_mito: options["${kind}_max_mito"],
        mad: options.mad_outliers,
    ]
}

def versionLine(process, tool, version) {
    return "${process}:\n  ${tool}: '${version}'\n".toString()
}

// What errorStrategy noted of tasks that it gave up in this run.
def lostTasks() {
    def folder = workflow.workDir.resolve("lost/${workflow.runName}")
    return folder.exists() ? listed(folder) : []
}

// How many GPUs a task of a process asked for. Tasks that succeeded say so; of a process of which all
// tasks died the notes do.
def gpusAsked(said, notes) {
    def noted = notes.findAll { json -> json.size() > 0 }.collect { json -> readJson(json) }.findAll { note -> note.accelerator }
    return noted.collectEntries { note -> [note.process, note.accelerator] } + said.collectEntries { process, number -> [process.tokenize(':').last(), number.toInteger()] }
}

// What is at the end of a run: where the report is, its headline, and the samples that failed.
def printSummary(outdir) {
    def headline = outdir.resolve('evaluation/headline.json')
    if (workflow.success && headline.exists()) {
        def summary = readJson(headline)
        println("\nReport: ${outdir.resolve('multiqc/multiqc_report.html').toUriString()}")
        summary.headline.each { item -> println("  ${item.name}: ${item.value} (${item.text})") }
        summary.failed.each { sample -> println("  Failed: ${sample.id} in ${sample.step}: ${sample.reason}") }
    }
}

// The end of a run in which no sample finished. An error stops what is still being published, so
// it waits for the report.
def requireFinished(headline, report) {
    if (headline.finished == 0) {
        (1..300).any { _number -> report.exists() || sleep(200) }
        error("No sample finished. The reasons: ${report.toUriString()}")
    }
}

workflow STLATENT {
    take:
    options
    sheet
    code
    facts

    main:
    device = options.use_gpu ? 'auto' : 'cpu'
    arms = channel.of(defaultArm(options))
    seeds = (0..<options.n_seeds).collect { number -> options.seed + number }
    methods = comparisons(options.baselines)

    PARSE_SHEET(sheet, file("${projectDir}/assets/schema_input.json"), code)

    // [[id, kind, file, coordinates, exists, lines], ..]: every distinct input once
    inputs = PARSE_SHEET.out.map { json -> inputSources(readJson(json).rows, sheet.parent) }
    sources = inputs
        .flatMap()
        .filter { _id, _kind, _data, _coordinates, exists, _lines -> exists }
        .map { id, kind, data, coordinates, _exists, _lines -> [id, kind, data, coordinates] }
    DESCRIBE_INPUT(sources, code)
    CHECK_INPUT(
        PARSE_SHEET.out,
        DESCRIBE_INPUT.out.description.toSortedList { json -> json.name },
        inputs.map { all -> sourcesJson(all) },
        code,
    )
    // what torch sees where the GPU tasks will run: [gpu, reason, node, executor, asked], or nothing
    CHECK_DEVICE(channel.of(code).filter { options.use_gpu })
    sight = CHECK_DEVICE.out.map { json, executor, asked -> readJson(json) + [executor: executor, asked: asked == 'asked'] }.ifEmpty([:])
    sight.subscribe { seen -> tellDevice(seen, options.use_gpu, workflow.containerEngine) }
    input = CHECK_INPUT.out.map { json, problems, requests -> [readInput(json, problems), requests] }

    // [[id, kind, reference], source, request]: samples, and the references that they share
    wanted = input.flatMap { checked, requests ->
        def samples = checked.samples.collect { row ->
            [[id: row.sample, kind: 'spatial', reference: row.reference], row.spatial_source]
        }
        def references = checked.samples
            .collect { row -> [[id: row.reference, kind: 'reference'], row.reference_source] }
            .unique()
        (references + samples).collect { meta, source ->
            def request = readJson(requests.resolve("${meta.id}.json"))
            [source, meta, groovy.json.JsonOutput.toJson(request)]
        }
    }
    INGEST(
        wanted.combine(sources, by: 0).map { _source, meta, request, _kind, data, coordinates -> [meta, data, coordinates, request] },
        code,
    )
    ingested = INGEST.out.h5ad.branch { meta, _h5ad ->
        references: meta.kind == 'reference'
        samples: true
    }
    QUALITY_CONTROL_REFERENCE(ingested.references, thresholds(options, 'reference'), code)
    QUALITY_CONTROL(ingested.samples, thresholds(options, 'spatial'), code)

    // [[reference, genes], h5ad]: what is asked of a reference, once for all arms that ask the same
    SELECT_GENES(
        QUALITY_CONTROL_REFERENCE.out.h5ad.combine(arms).map { meta, h5ad, arm -> [[id: meta.id, genes: arm.genes], h5ad] }.unique(),
        code,
    )
    references = QUALITY_CONTROL_REFERENCE.out.h5ad
        .map { meta, h5ad -> [meta.id, h5ad] }
        .combine(SELECT_GENES.out.hvg.map { meta, hvg -> [meta.id, meta.genes, hvg] }, by: 0)
    TRAIN_VAE(
        references.combine(arms).filter { _id, _h5ad, genes, _hvg, arm -> arm.genes == genes }.map { id, h5ad, genes, hvg, arm -> [[id: id, genes: genes, vae: arm.vae], h5ad, hvg] }.unique(),
        options.seed,
        device,
        code,
    )

    // [[id, reference, arm], sample]
    samples = QUALITY_CONTROL.out.h5ad
        .combine(arms)
        .map { meta, h5ad, arm -> [[id: meta.id, reference: meta.reference, arm: arm], h5ad] }
    gene_list = options.impute_genes in ['hvg', 'all'] ? [] : file(options.impute_genes, glob: false, checkIfExists: true)
    // [[id, reference, genes, n_genes], sample]: what the split asks of an arm
    split_samples = samples.map { meta, h5ad -> [splitOf(meta), h5ad] }.unique()
    SPLIT_GENES(
        split_samples.map { meta, h5ad -> [meta.reference, meta.genes, meta, h5ad] }.combine(references.map { id, h5ad, genes, hvg -> [id, genes, h5ad, hvg] }, by: [0, 1]).map { _reference, _genes, meta, h5ad, reference_h5ad, hvg -> [meta, h5ad, reference_h5ad, hvg] },
        options.n_folds,
        options.impute_genes,
        gene_list,
        options.evaluation_genes,
        options.seed,
        code,
    )

    // [[id, reference, arm], [fold, ..]]: the folds with hidden genes, and how many
    hidden = samples
        .map { meta, _h5ad -> [splitOf(meta), meta] }
        .combine(SPLIT_GENES.out.folds, by: 0)
        .map { _split, meta, folds -> [meta, folds.findAll { fold -> fold.name != 'fold_all.json' }.sort { fold -> fold.name }] }

    // [[id, reference, arm without its imputer, fold, seed], sample, fold]: folds with hidden genes under
    // every seed, the full run under the first
    folds = samples
        .map { meta, h5ad -> [splitOf(meta), meta + [arm: withoutImputer(meta.arm)], h5ad] }
        .unique()
        .combine(SPLIT_GENES.out.folds.transpose(), by: 0)
        .flatMap { _split, meta, h5ad, fold -> (foldName(fold) == 'all' ? seeds.take(1) : seeds).collect { seed -> [meta + [fold: foldName(fold), seed: seed], h5ad, fold] } }
    ALIGN(
        folds.map { meta, h5ad, fold -> [meta.reference, meta.arm.genes, meta.arm.vae, meta, h5ad, fold] }.combine(TRAIN_VAE.out.vae.map { meta, vae -> [meta.id, meta.genes, meta.vae, vae] }, by: [0, 1, 2]).map { _reference, _genes, _settings, meta, h5ad, fold, vae -> [meta, h5ad, vae, fold] },
        device,
        code,
    )

    // [meta, aligned, sample, vae, fold]
    aligned = ALIGN.out.h5ad
        .join(folds)
        .map { meta, latent, h5ad, fold -> [meta.reference, meta.arm.genes, meta.arm.vae, meta, latent, h5ad, fold] }
        .combine(TRAIN_VAE.out.vae.map { meta, vae -> [meta.id, meta.genes, meta.vae, vae] }, by: [0, 1, 2])
        .map { _reference, _genes, _settings, meta, latent, h5ad, fold, vae -> [meta, latent, h5ad, vae, fold] }
    IMPUTE(
        aligned.combine(arms).filter { meta, _latent, _h5ad, _vae, _fold, arm -> withoutImputer(arm) == meta.arm }.map { meta, latent, h5ad, vae, fold, arm -> [meta + [arm: arm], latent, h5ad, vae, fold] },
        options.impute_genes,
        gene_list,
        code,
    )
    EVALUATE(aligned.filter { meta, _latent, _h5ad, _vae, _fold -> meta.fold == 'all' }, options.seed, code)

    // [meta, sample, reference, fold] of every fold with hidden genes, and of what predicts it
    compared = split_samples
        .combine(SPLIT_GENES.out.folds.transpose(), by: 0)
        .filter { _meta, _h5ad, fold -> foldName(fold) != 'all' }
        .map { meta, h5ad, fold -> [meta.reference, meta + [fold: foldName(fold)], h5ad, fold] }
        .combine(references.map { id, h5ad, _genes, _hvg -> [id, h5ad] }.unique(), by: 0)
        .flatMap { _reference, meta, h5ad, fold, reference_h5ad -> methods.collect { method -> [meta + method, h5ad, reference_h5ad, fold] } }
    COMPARE(compared, options.n_neighbors, options.seed, code)

    // [[id, reference, arm], [h5ad, ..]]: as many files a fold as there are tasks that predict it, or
    // fewer at the end of the run when one failed
    n_predictions = seeds.size() + methods.size()
    baselines = samples
        .map { meta, _h5ad -> [splitOf(meta), meta] }
        .combine(COMPARE.out.h5ad.map { meta, h5ad -> [meta.subMap('id', 'reference', 'genes', 'n_genes'), h5ad] }, by: 0)
        .map { _split, meta, h5ad -> [meta, h5ad] }
    imputed = IMPUTE.out.h5ad
        .filter { meta, _h5ad -> meta.fold != 'all' }
        .map { meta, h5ad -> [meta.subMap('id', 'reference', 'arm'), h5ad] }
        .mix(baselines)
        .combine(hidden, by: 0)
        .map { meta, h5ad, fold_files -> [groupKey(meta, n_predictions * fold_files.size()), h5ad] }
        .groupTuple(remainder: true)
        .map { key, files -> [key.getGroupTarget(), files.sort { h5ad -> "${h5ad.parent.name}/${h5ad.name} ${h5ad}" }] }
    SCORE(samples.join(hidden).join(imputed), code)

    // [[id, reference, arm], full run, [fold, ..]] of every sample whose full run was imputed, with the
    // folds that were, under the first seed
    complete = IMPUTE.out.h5ad
        .filter { meta, _h5ad -> meta.seed == seeds[0] }
        .map { meta, h5ad -> [meta.subMap('id', 'reference', 'arm'), h5ad] }
        .combine(hidden, by: 0)
        .map { meta, h5ad, fold_files -> [groupKey(meta, 1 + fold_files.size()), h5ad] }
        .groupTuple(remainder: true)
        .map { key, files -> [key.getGroupTarget()] + fullAndHeldOut(files) }
        .filter { _meta, full, _held_out -> full }
    CALIBRATE(complete.join(samples).join(hidden), options.interval_level, code)

    // what failed because of the data
    failures = INGEST.out.failure.mix(
        QUALITY_CONTROL_REFERENCE.out.failure,
        QUALITY_CONTROL.out.failure,
        SELECT_GENES.out.failure,
        TRAIN_VAE.out.failure,
        SPLIT_GENES.out.failure,
        ALIGN.out.failure,
        IMPUTE.out.failure,
        COMPARE.out.failure,
        SCORE.out.failure,
        EVALUATE.out.failure,
        CALIBRATE.out.failure,
    )
    input
        .flatMap { checked, _requests -> checked.failures }
        .mix(failures.map { json -> readJson(json) })
        .subscribe { failure -> log.warn(failureText(failure)) }
    input
        .flatMap { checked, _requests -> checked.warnings }
        .subscribe { warning -> log.warn("sample ${warning.id}: ${warning.reason}") }

    results = failures.mix(
        DESCRIBE_INPUT.out.checksums,
        QUALITY_CONTROL_REFERENCE.out.summary,
        QUALITY_CONTROL.out.summary,
        TRAIN_VAE.out.history,
        ALIGN.out.history,
        IMPUTE.out.summary,
        SCORE.out.scores,
        SCORE.out.maps,
        EVALUATE.out.evaluation,
        CALIBRATE.out.summary,
    )
    collected = results.toSortedList { one, other -> one.toString() <=> other.toString() }
    costs = collected.map { files -> costTable(readTrace(findTrace(options), files), facts.container_engine) }
    accelerators = channel.topic('accelerators').toList().map { said -> gpusAsked(said, lostTasks()) }
    settings = sight
        .combine(costs)
        .combine(accelerators)
        .combine(inputs.map { all -> [all: sourcePaths(all)] })
        .map { seen, table, asked, places ->
            groovy.json.JsonOutput.toJson(
                [
                    parameters: options.findAll { name, _value -> name != 'trace_report_suffix' },
                    run: facts + [device: deviceFact(seen, options.use_gpu)],
                    accelerators: asked,
                    sources: places.all,
                    images: imageRecords(table),
                ]
            )
        }
    COLLATE(
        CHECK_INPUT.out.map { json, _problems, _requests -> json },
        collected.map { files -> files + lostTasks() },
        costs.collectFile(name: 'tasks.tsv'),
        settings,
        code,
    )

    versions = channel
        .topic('versions')
        .unique()
        .map { process, tool, version -> versionLine(process.tokenize(':').last(), tool, version) }
        .mix(
            channel.of(
                versionLine('Workflow', 'stlatent', workflow.manifest.version),
                versionLine('Nextflow', 'nextflow', workflow.nextflow.version),
            )
        )
        .collectFile(name: 'stlatent_mqc_versions.yml', sort: true)
    MULTIQC(COLLATE.out.multiqc, versions, file("${projectDir}/assets/multiqc_config.yml"), options.multiqc_title)
    MULTIQC.out.report
        .combine(COLLATE.out.headline)
        .map { report, headline -> requireFinished(readJson(headline), file(options.outdir).resolve("multiqc/${report.name}")) }
    // Emitted by its name alone: with an assignment there the strict parser of Nextflow 25.04 finds no output.
    provenance = COLLATE.out.provenance

    emit:
    provenance
    versions
}

def samplesheet(name) {
    def sheet = file(name, glob: false)
    if (!sheet.exists() || sheet.isDirectory()) {
        error("--input: ${sheet.exists() ? 'a folder, not a samplesheet' : 'file not found'}: ${name}")
    }
    if (sheet.toUriString().find('[${}\\n\\r]')) {
        error('--input: the path holds $, {, } or a line break, which Nextflow cannot hand to a task: ' + name)
    }
    return sheet
}

workflow {
    schema = file("${projectDir}/nextflow_schema.json")
    if (params.help) {
        println(parameterHelp(schema))
    }
    else {
        options = checkParameters(params, schema)
        checkPlatform(options, workflow.profile.tokenize(','))
        code = fingerprint(file("${projectDir}/bin"))
        facts = [
            pipeline_version: workflow.manifest.version,
            nextflow_version: workflow.nextflow.version.toString(),
            code_fingerprint: code,
            revision: gitRevision(),
            profile: workflow.profile,
            container_engine: containerEngine(),
        ]
        sheet = samplesheet(options.input)
        given = sheetEntity(sheet)
        STLATENT(options, sheet, code, facts)
        made = [:]
        STLATENT.out.provenance.subscribe { json -> made.provenance = json }
        STLATENT.out.versions.subscribe { yml -> made.versions = yml }
        workflow.onComplete = {
            close {
                printSummary(file(options.outdir))
                writeCrate(options, facts, given, made.provenance ? readJson(made.provenance) : [:], made.versions ? made.versions.text : '')
            }
        }
    }
}
