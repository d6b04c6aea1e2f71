output "url" {
  description = "Where the database is, with its password."
  value       = local.url
  sensitive   = true
}

output "tables" {
  description = "Names of the tables."
  value       = keys(terraform_data.table)
}
