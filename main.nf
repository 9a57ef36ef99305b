include { registerArms } from './functions/arms'
include { close ; printSummary } from './functions/closing'
include { fingerprint ; fingerprints } from './functions/code'
include { gitRevision ; sheetEntities ; writeCrate } from './functions/crate'
include { containerEngine } from './functions/engine'
include { readJson } from './functions/files'
include { checkParameters ; parameterHelp ; samplesheet } from './functions/parameters'
include { checkPlatform } from './functions/platform'
include { readArms } from './functions/study'
include { STLATENT } from './subworkflows/stlatent'

workflow {
    schema = file("${projectDir}/nextflow_schema.json")
    if (params.help) {
        println(parameterHelp(schema))
    }
    else {
        options = checkParameters(params, schema)
        checkPlatform(options, workflow.profile.tokenize(','))
        arms = readArms(options)
        registerArms(arms)
        bin = file("${projectDir}/bin")
        facts = [
            pipeline_version: workflow.manifest.version,
            nextflow_version: workflow.nextflow.version.toString(),
            code_fingerprint: fingerprint(bin),
            revision: gitRevision(),
            profile: workflow.profile,
            container_engine: containerEngine(),
        ]
        sheet = samplesheet(options.input)
        sheets = sheetEntities(sheet, options.study)
        STLATENT(options, sheet, arms, fingerprints(bin), facts)
        outputs = [:]
        STLATENT.out.provenance.subscribe { json -> outputs.provenance = json }
        STLATENT.out.versions.subscribe { yml -> outputs.versions = yml }
        workflow.onComplete = {
            close {
                printSummary(file(options.outdir))
                writeCrate(options, facts, sheets, outputs.provenance ? readJson(outputs.provenance) : [:], outputs.versions ? outputs.versions.text : '')
            }
        }
    }
}
