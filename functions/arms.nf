// No includes here: parser v2 of Nextflow 25.04 lets a script with includes be included in one place only.

// The parameters that an arm may change, by the step that asks for them, with those of the steps before it.
def stepParameters() {
    def genes = ['n_hvg']
    def vae = genes + ['vae', 'n_latent', 'vae_max_epochs', 'vae_kl_warmup_epochs', 'vae_batch_size']
    def folds = genes + ['n_alignment_genes']
    def comparison = folds + ['n_neighbors']
    def alignment = (vae + comparison).unique() + ['alignment', 'alignment_pretrain_epochs', 'alignment_discriminator_epochs', 'alignment_epochs', 'inner_folds']
    def imputation = alignment + ['imputer']
    return [genes: genes, vae: vae, folds: folds, comparison: comparison, alignment: alignment, imputation: imputation]
}

// What a step asks of the parameters of an arm: the key of its tasks, so that arms that ask the same share
// them, whatever the arms are called.
def settingsOf(step, parameters) {
    return parameters.subMap(stepParameters()[step])
}

// The distinct settings of a step over all arms, in the order of the study.
def distinctSettings(step, arms) {
    return arms.collect { arm -> settingsOf(step, arm.parameters) }.unique()
}

// A short name of settings, for the records of tasks.
def settingsKey(settings) {
    def text = settings.toSorted { one, other -> one.key <=> other.key }.collect { name, value -> "${name}=${value}" }.join('\n')
    return java.security.MessageDigest.getInstance('SHA-256').digest(text.bytes).encodeHex().toString().take(12)
}

// Names of the arms that ask for these settings; the first of them gives the tasks' results their folder.
def armsOf(settings, arms) {
    return arms.findAll { arm -> arm.parameters.subMap(settings.keySet()) == settings }.collect { arm -> arm.name }
}

// What COLLATE is told of the arms.
def armRecords(arms) {
    return arms
        .withIndex()
        .collect { arm, index ->
            def twin = arms.take(index).find { other -> other.parameters == arm.parameters }
            def keys = stepParameters().keySet().collectEntries { step -> [step, settingsKey(settingsOf(step, arm.parameters))] }
            [name: arm.name, keys: keys, same_as: twin?.name, parameters: arm.changed]
        }
}

// Makes the arms known to the directives of processes, which see neither parameters nor channels.
def makeKnown(arms) {
    workflow.session.config.arms = arms
}

def knownArms() {
    def arms = workflow.session.config.arms ?: []
    return arms.size() > 1 ? arms : []
}

// The folder of a sample's or reference's results, and in a study that of the first arm which asks for them.
// Evaluated when a task ends: no part of its key, so that a new arm or name repeats nothing.
def resultFolder(kind, meta) {
    def arms = meta.settings ? knownArms() : []
    def parts = [workflow.session.params.outdir, kind, meta.id] + (arms ? armsOf(meta.settings, arms).take(1) : [])
    return parts.join('/')
}

// What a task's tag says of the arms that ask for it, in a study of several.
def armTag(meta) {
    def arms = meta.settings ? knownArms() : []
    return arms ? " arm ${armsOf(meta.settings, arms).join(',')}".toString() : ''
}
