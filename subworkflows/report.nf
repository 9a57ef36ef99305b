include { armRecords } from '../functions/arms'
include { readJson } from '../functions/files'
include { imageRecords } from '../functions/images'
include { acceleratorsOf ; deadTasks } from '../functions/dead_tasks'
include { sourcePaths ; versionLine } from '../functions/facts'
include { deviceFact } from '../functions/platform'
include { costTable ; findTrace ; readTrace } from '../functions/trace'
include { COLLATE } from '../modules/collate/main'
include { MULTIQC } from '../modules/multiqc/main'

// Gathers the records of all tasks into one report. Records come by topic: a new process only has to
// write to it.
workflow REPORT {
    take:
    options
    checked
    sources
    device
    arms
    facts
    code

    main:
    records = channel.topic('records').flatten().toSortedList { one, other -> one.toString() <=> other.toString() }
    costs = records.map { files -> costTable(readTrace(findTrace(options), files), facts.container_engine) }
    accelerators = channel.topic('accelerators').toList().map { requests -> acceleratorsOf(requests) }
    settings = device
        .combine(costs)
        .combine(accelerators)
        .combine(sources.map { all -> [paths: sourcePaths(all)] })
        .map { found, table, requested, inputs ->
            groovy.json.JsonOutput.toJson(
                [
                    parameters: options.findAll { name, _value -> name != 'trace_report_suffix' },
                    arms: armRecords(arms),
                    run: facts + [device: deviceFact(found, options.use_gpu)],
                    accelerators: requested,
                    sources: inputs.paths,
                    images: imageRecords(table),
                ]
            )
        }
    COLLATE(checked, records.map { files -> files + deadTasks() }, costs.collectFile(name: 'tasks.tsv'), settings, code.collate)

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
    // Emitted by its name alone: the strict parser of Nextflow 25.04 does not find an output that is assigned there.
    provenance = COLLATE.out.provenance

    emit:
    provenance
    versions
}

// Ends a run in which no sample finished with an error. The error stops all publishing, so wait for the
// report first.
def requireFinished(headline, report) {
    if (headline.finished == 0) {
        (1..300).any { _number -> report.exists() || sleep(200) }
        error("No sample finished. The reasons: ${report.toUriString()}")
    }
}
