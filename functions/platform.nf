// What a profile needs and was not given; the work directory is checked by the cloud's executor itself.
def checkPlatform(options, profiles) {
    def problems = profiles.collectMany { profile ->
        profile == 'awsbatch' ? awsProblems(options) : profile == 'googlebatch' ? googleProblems(options) : []
    }
    if (problems) {
        error(problems.join('\n'))
    }
    if ('googlebatch' in profiles && workflow.nextflow.version.matches('>=25.10') && !workflow.nextflow.version.matches('>=26.04')) {
        log.warn("Nextflow ${workflow.nextflow.version} can take tasks that Google Batch itself repeats for failed ones: keep google.batch.maxSpotAttempts at 0, as this profile does, or take 26.04.")
    }
    // Its settings for a whole run are read before the command line is.
    def early = System.getenv('NXF_SYNTAX_PARSER') == 'v2' && !workflow.nextflow.version.matches('>=25.10')
    if (early && profiles.any { profile -> profile in ['awsbatch', 'googlebatch'] }) {
        log.warn('With NXF_SYNTAX_PARSER=v2, Nextflow before 25.10 does not see --region, --google_project and --spot: unset it.')
    }
}

def awsProblems(options) {
    def region = options.region || System.getenv('AWS_REGION') || System.getenv('AWS_DEFAULT_REGION')
    return [
        options.queue ? null : '--queue: is needed with -profile awsbatch: the AWS Batch queue of the CPU tasks',
        options.gpu_queue || !options.use_gpu ? null : '--gpu_queue: is needed with -profile awsbatch: the queue of the GPU tasks; or --use_gpu false',
        region ? null : '--region: is needed with -profile awsbatch, such as eu-central-1; or set AWS_REGION',
    ].findAll { problem -> problem } + imageProblems(options)
}

def googleProblems(options) {
    return [
        options.google_project ? null : '--google_project: is needed with -profile googlebatch: the ID of the project that pays',
        options.region ? null : '--region: is needed with -profile googlebatch, such as europe-west4',
        options.gpu_machine_type || !options.use_gpu || options.gpu_type in [null, 'nvidia-l4', 'nvidia-tesla-t4', 'nvidia-tesla-p4'] ? null : "--gpu_machine_type: is needed with --gpu_type ${options.gpu_type}, such as a2-highgpu-1g for nvidia-tesla-a100".toString(),
    ].findAll { problem -> problem } + imageProblems(options)
}

// The names that `make images` gives are known on one machine only.
def imageProblems(options) {
    return ['container_image', 'gpu_container_image']
        .findAll { name -> (options.use_gpu || name == 'container_image') && !"${options[name]}".contains('/') }
        .collect { name -> "--${name}: '${options[name]}' is an image of one machine; the cloud needs the name under which you pushed it".toString() }
}

// What the report says of the device. A sight is what CHECK_DEVICE found: empty when it was not asked, or failed.
def deviceFact(sight, use_gpu) {
    if (!use_gpu) {
        return 'CPU (--use_gpu false)'
    }
    if (!sight) {
        return 'not known: CHECK_DEVICE failed'
    }
    return sight.gpu ?: sight.asked ? "CPU: a GPU was asked for, and none is visible (${sight.reason})".toString() : 'CPU: no GPU on this machine'
}

def tellDevice(sight, use_gpu, engine) {
    // A run that an error has ended killed CHECK_DEVICE itself.
    if (!use_gpu || nextflow.Global.session.aborted) {
        return null
    }
    if (!sight) {
        log.warn(failedCheck())
    }
    else if (sight.asked && !sight.gpu) {
        log.warn(invisibleGpu(sight, engine))
    }
    else {
        log.info(sight.gpu ? "GPU: ${sight.gpu}" : 'No GPU on this machine: TRAIN_VAE and ALIGN run on the CPU.')
    }
}

def failedCheck() {
    return [
        'CHECK_DEVICE, which asks for a GPU as TRAIN_VAE and ALIGN will, failed: they will probably fail in the same way.',
        '  Its reason is above and in .nextflow.log.',
        '  --use_gpu false runs everything on the CPU; -resume keeps what is done.',
    ].join('\n')
}

def invisibleGpu(sight, engine) {
    return [
        "A GPU was asked for, and torch sees none on ${sight.node} (executor ${sight.executor}): ${sight.reason}.",
        '  TRAIN_VAE and ALIGN run on the CPU there: the run goes on, but slower.',
        '  Run nvidia-smi on that machine. If it shows no GPU, this is a machine without one, or its driver is missing.',
        gpuCure(sight.executor, engine),
        '  --use_gpu false keeps these tasks off GPU machines.',
    ].findAll { line -> line }.join('\n')
}

def gpuCure(executor, engine) {
    def scheduler = [
        slurm: "  Does --gpu_queue name a partition whose nodes have GPUs (sinfo -o '%P %G'), and does `srun --gres=gpu:1 nvidia-smi` show one?",
        awsbatch: '  Does --gpu_queue use a compute environment of GPU instances, such as g4dn, g5 or g6, with the GPU image of AWS?',
        'google-batch': '  Do --gpu_type and --gpu_machine_type fit each other (nvidia-tesla-t4 and n1-standard-4; nvidia-l4 and g2-standard-4)?',
    ][executor]
    def container = [
        docker: '  Docker needs the NVIDIA Container Toolkit: docker run --rm --gpus all IMAGE nvidia-smi',
        podman: '  Podman needs the NVIDIA Container Toolkit and its CDI file: nvidia-ctk cdi list',
        charliecloud: '  Charliecloud gives a container no GPU by itself: ch-fromhost --nvidia puts the driver into the image.',
    ][engine]
    return [scheduler, container].findAll { line -> line }.join('\n')
}
