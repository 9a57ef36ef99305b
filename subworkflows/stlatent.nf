include { readJson } from '../functions/files'
include { comparisons } from '../functions/methods'
include { reportDevice } from '../functions/platform'
include { CHECK_DEVICE } from '../modules/check_device/main'
include { COMPARISON } from './comparison'
include { EVALUATION } from './evaluation'
include { FOLDS } from './folds'
include { IMPUTATION } from './imputation'
include { INPUTS } from './inputs'
include { REFERENCE } from './reference'
include { REPORT } from './report'

workflow STLATENT {
    take:
    options
    sheet
    arms
    code
    facts

    main:
    seeds = (0..<options.n_seeds).collect { number -> options.seed + number }
    methods = comparisons(options.baselines)
    gene_list = options.impute_genes in ['hvg', 'all'] ? [] : file(options.impute_genes, glob: false, checkIfExists: true)

    // the GPU that torch finds where the GPU tasks will run: [gpu, reason, node, executor, requested], or nothing
    CHECK_DEVICE(channel.of(code.check_device).filter { options.use_gpu })
    device = CHECK_DEVICE.out.map { json, executor, request -> readJson(json) + [executor: executor, requested: request == 'requested'] }.ifEmpty([:])
    device.subscribe { found -> reportDevice(found, options.use_gpu, workflow.containerEngine) }

    INPUTS(options, sheet, code)
    REFERENCE(options, INPUTS.out.references, arms, code)
    FOLDS(options, INPUTS.out.samples, REFERENCE.out.genes, gene_list, arms, code)
    IMPUTATION(options, FOLDS.out.folds, REFERENCE.out.vae, gene_list, arms, seeds, code)
    COMPARISON(options, FOLDS.out.folds, methods, arms, code)
    EVALUATION(options, FOLDS.out.hidden, IMPUTATION.out.imputed, COMPARISON.out.predicted, methods, arms, seeds, code)

    channel
        .topic('records')
        .flatten()
        .filter { json -> json.name.endsWith('.failure.json') }
        .map { json -> readJson(json) }
        .mix(INPUTS.out.checked.flatMap { json -> readJson(json).failures })
        .subscribe { failure -> log.warn(failureText(failure)) }
    INPUTS.out.checked
        .flatMap { json -> readJson(json).warnings }
        .subscribe { warning -> log.warn("sample ${warning.id}: ${warning.reason}") }

    REPORT(options, INPUTS.out.checked, INPUTS.out.sources, device, arms, facts, code)
    provenance = REPORT.out.provenance
    versions = REPORT.out.versions

    emit:
    provenance
    versions
}

def failureText(failure) {
    return failure.method ? "${failure.method} on ${failure.kind} ${failure.id}, fold ${failure.fold}, failed: ${failure.reason}" : "${failure.kind} ${failure.id} failed in ${failure.step}: ${failure.reason}"
}
