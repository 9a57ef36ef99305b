// No includes here: parser v2 of Nextflow 25.04 lets a script with includes be included in one place only.

// The parameters that an arm may change: for each step its own and those of the steps before it.
def stepParameters() {
    def genes = ['n_hvg']
    def vae = genes + ['vae', 'n_latent', 'vae_max_epochs', 'vae_kl_warmup_epochs', 'vae_batch_size']
    def folds = genes + ['n_alignment_genes']
    def comparison = folds + ['n_neighbors']
    def alignment = (vae + comparison).unique() + ['alignment', 'alignment_pretrain_epochs', 'alignment_discriminator_epochs', 'alignment_epochs', 'inner_folds']
    def imputation = alignment + ['imputer']
    return [genes: genes, vae: vae, folds: folds, comparison: comparison, alignment: alignment, imputation: imputation]
}

// The parameters of an arm that a step depends on. They are the key of its tasks, so arms with equal
// settings share tasks, whatever the arms are called.
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

// Names of the arms with these settings. The results go into the folder of the first of them.
def armsOf(settings, arms) {
    return arms.findAll { arm -> arm.parameters.subMap(settings.keySet()) == settings }.collect { arm -> arm.name }
}

// The arms, for COLLATE.
def armRecords(arms) {
    return arms
        .withIndex()
        .collect { arm, index ->
            def twin = arms.take(index).find { other -> other.parameters == arm.parameters }
            def keys = stepParameters().keySet().collectEntries { step -> [step, settingsKey(settingsOf(step, arm.parameters))] }
            [name: arm.name, keys: keys, same_as: twin?.name, parameters: arm.changed]
        }
}

// Stores the arms for the directives of processes, which can read neither parameters nor channels.
def registerArms(arms) {
    workflow.session.config.arms = arms
}

def registeredArms() {
    def arms = workflow.session.config.arms ?: []
    return arms.size() > 1 ? arms : []
}

// The folder of a sample's or reference's results; in a study, in it that of the first arm with these
// settings. Evaluated when a task ends and no part of its key, so a new arm or name repeats nothing.
def resultFolder(kind, meta) {
    def arms = meta.settings ? registeredArms() : []
    def parts = [workflow.session.params.outdir, kind, meta.id] + (arms ? armsOf(meta.settings, arms).take(1) : [])
    return parts.join('/')
}

// The end of a task's tag in a study of several arms: the arms that use the task.
def armTag(meta) {
    def arms = meta.settings ? registeredArms() : []
    return arms ? " arm ${armsOf(meta.settings, arms).join(',')}".toString() : ''
}
