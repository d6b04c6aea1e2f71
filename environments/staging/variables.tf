variable "cidr" {
  description = "Range of the network."
  type        = string
}

variable "zones" {
  description = "Zones, and the number of each one's subnet."
  type        = map(number)
}

variable "services" {
  description = "The services, by name."
  type = map(object({
    image    = string
    replicas = optional(number, 1)
    settings = optional(map(string), {})
  }))
}

variable "instance_limit" {
  description = "How many instances there is money for."
  type        = number
}

variable "database_size_gib" {
  description = "Size of the database's disk in GiB."
  type        = number
}

variable "database_password" {
  description = "Password of the database. Comes from TF_VAR_database_password; see pass_env in tfops.hcl."
  type        = string
  default     = null
  sensitive   = true
}
